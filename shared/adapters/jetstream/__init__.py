"""JetStream: the only package that imports nats-py, and the place for its peculiarities."""

from shared.adapters.jetstream.broker import JetStream, connect

__all__ = ["JetStream", "connect"]
