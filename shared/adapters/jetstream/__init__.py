"""The Broker port on JetStream; the only package that imports nats-py."""

from shared.adapters.jetstream.broker import JetStream
from shared.adapters.jetstream.connecting import connect

__all__ = ["JetStream", "connect"]
