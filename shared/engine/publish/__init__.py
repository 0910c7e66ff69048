"""The fourth stage: publishes the outbox, per key in order, and retries until the stream has every row."""
