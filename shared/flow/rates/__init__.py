"""Measures what flows: the rate of each event, and how often one event led to another."""
