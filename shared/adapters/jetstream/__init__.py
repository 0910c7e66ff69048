"""JetStream: the only package that imports nats-py, and the place for its peculiarities."""

from shared.adapters.jetstream.broker import JetStream
from shared.adapters.jetstream.connecting import connect

__all__ = ["JetStream", "connect"]
