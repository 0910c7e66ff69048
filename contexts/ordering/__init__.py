"""Ordering: takes orders, and has the last word on each until it is confirmed."""
