"""Publishes what a group has made: its events, and the rows of its KV buckets."""
