"""The last stage: publishes the outbox, per key in order, until the stream has every row."""
