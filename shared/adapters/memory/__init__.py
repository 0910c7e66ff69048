"""JetStream's twin in memory, for virtual time: streams, consumers and services as far as Chorus uses them.

`MemoryServer` is the server, and has the troubles that a server has: it can be stopped and started, lose a stream or a
consumer, come back with an older copy of its data, and deliver twice. `MemoryBroker` is one client's connection, which
can be cut, or lose what it publishes or the answer to it. tests/contract/test_broker_twins.py holds both to JetStream.
"""

from shared.adapters.memory.broker import MemoryBroker
from shared.adapters.memory.faults import Moods
from shared.adapters.memory.server import MemoryServer

__all__ = ["MemoryBroker", "MemoryServer", "Moods"]
