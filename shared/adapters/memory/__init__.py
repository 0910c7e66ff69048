"""JetStream's twin in memory and virtual time: streams, consumers and services, as far as Chorus uses them.

`MemoryServer` is the server and has a server's faults: it can stop and start, lose a stream or a consumer, come back
with an older copy of its data, and deliver twice. `MemoryBroker` is one client's connection, which can break or lose a
publication or its PubAck. tests/contract/test_broker_twins.py runs one suite against both twins.
"""

from shared.adapters.memory.broker import MemoryBroker
from shared.adapters.memory.fault_rates import FaultRates
from shared.adapters.memory.server import MemoryServer

__all__ = ["FaultRates", "MemoryBroker", "MemoryServer"]
