"""Derives the graph of a system from the code of its contexts, draws it, and finds the mistakes in it."""
