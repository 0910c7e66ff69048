"""Administers the broker: reads streams.yaml, compares it with the server and the code, and applies it."""
