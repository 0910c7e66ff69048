"""The shop as processes, driven from outside."""
