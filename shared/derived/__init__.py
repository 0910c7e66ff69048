"""Derives from what contexts declare what follows from it: streams and consumers, and the commands of a reaction."""
