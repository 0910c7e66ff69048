"""The third stage of a group: publishes its own events, and the rows of its KV buckets."""
