"""Finds declarations that do not fit together: contexts, groups of a read side, and versions of events."""
