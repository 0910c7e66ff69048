"""Insights, the read side of the shop."""
