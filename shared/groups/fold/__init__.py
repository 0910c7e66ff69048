"""Folds events into the tables of a group and through its topologies, in the memory of one transaction."""
