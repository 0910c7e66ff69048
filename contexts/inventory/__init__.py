"""Inventory: knows what is on the shelves, and promises a unit to one order only."""
