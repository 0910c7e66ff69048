"""Runs one worker process: starts it, reports that it is alive, and drains it."""
