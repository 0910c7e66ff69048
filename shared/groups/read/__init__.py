"""Reads EVENTS for a group: in order, each event of a known context once, and up to which sequence."""
