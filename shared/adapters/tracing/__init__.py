"""Adapters that make and send spans; only a process that traces imports them."""
