"""The fourth stage: publishes the outbox, per key in order, and retries until the stream has every row.

`relay.py` publishes and applies backpressure, `queue.py` keeps the order per key, and `blocked.py` retries the keys
that the broker refuses or does not answer.
"""
