"""Sends events to an HTTP endpoint as CloudEvents: at least once, and in order per key."""
