"""Derived from the declarations of contexts and read sides: streams and consumers, and the commands of a reaction."""
