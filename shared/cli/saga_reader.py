"""Reads a saga for the commands that show one: its messages, what lies ahead, and what the databases here know."""

import os
from typing import TYPE_CHECKING, NamedTuple

from shared.cli.adapters import clock, databases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.inspect.annotations import Annotations
    from shared.inspect.timeline import Ahead, Message, Node
    from shared.ports.broker import Broker


class Reading(NamedTuple):
    """The state of a saga as it was read. `roots` are the trees of its messages and of what lies ahead."""

    messages: "Sequence[Message]"
    roots: "Sequence[Node]"
    annotations: "Annotations"


class SagaReader:
    """The contexts, the graph and the sagas of the system, loaded once; raises what loading them raises."""

    def __init__(self) -> None:
        from shared import catalog
        from shared.flow.graph import derive
        from shared.inspect.told_fields import ToldFields
        from shared.streams.file import read_topology

        self.settings = catalog.read_settings(os.environ)
        members = catalog.load_all(self.settings).members
        self._contexts = [*members.values()]
        self._flow = derive(members)
        self._partitions = read_topology(self.settings.streams_file).partitions
        self.sagas = tuple(catalog.declared_in("sagas", "SAGAS") or ())
        self.told_fields = ToldFields(self._contexts)

    async def read(self, broker: "Broker", key: str, *, everything: bool = False) -> Reading:
        """Read the streams, ask all contexts, and look into the databases on this machine."""
        from shared.inspect.ahead import ahead_of
        from shared.inspect.evidence import collect
        from shared.inspect.timeline import read_saga

        evidence = await collect(broker, self._contexts, key, self._partitions, clock().now())
        messages = await read_saga(broker, key, everything=True) if everything else [*evidence.messages]
        return self._annotated(key, messages, ahead_of(evidence, self._flow, self.sagas))

    def standings(self, reading: Reading) -> list[str]:
        """A line for each saga of the key."""
        from shared.inspect.sagas import standings

        return standings(self.sagas, reading.messages, clock().now())

    def _annotated(self, key: str, messages: "Sequence[Message]", ahead: "Sequence[Ahead]") -> Reading:
        from shared import catalog
        from shared.inspect.annotations import annotate
        from shared.inspect.timeline import tree, with_ahead

        annotations = annotate(databases(self.settings), catalog.names(), key, messages)
        messages = [*messages, *annotations.missing]
        return Reading(messages, with_ahead(tree(messages), ahead), annotations)
