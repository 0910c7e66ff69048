"""Finds the mistakes in the graph of a system. One module finds one kind of mistake."""
