"""Reads a saga for those who show one: its messages, what lies ahead, and what the databases here know."""

from collections.abc import Sequence
from typing import NamedTuple

from shared import catalog
from shared.config.settings import Settings
from shared.flow.graph import derive
from shared.inspect.patience import Patience
from shared.inspect.timeline.annotations import Annotations, annotate
from shared.inspect.timeline.standings import standings
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Message, Node, read_saga, tree, with_ahead
from shared.inspect.why.ahead import ahead_of
from shared.inspect.why.evidence import Evidence, collect
from shared.inspect.why.explanation import Explanation, explain
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.databases import Databases
from shared.streams.file import read_topology


class Reading(NamedTuple):
    """The state of a saga as it was read. `roots` are the trees of its messages and of what lies ahead."""

    messages: Sequence[Message]
    roots: Sequence[Node]
    annotations: Annotations
    evidence: Evidence


class SagaReader:
    """The contexts, the graph and the sagas of the system, loaded once; raises what loading them raises."""

    def __init__(self, settings: Settings, databases: Databases, clock: Clock) -> None:
        self._databases = databases
        self._clock = clock
        loaded = catalog.load_all(settings)
        self.members = loaded.members
        self.sides = [*loaded.read_sides.values()]
        self.contexts = [*self.members.values()]
        self.flow = derive(self.members)
        self.partitions = read_topology(settings.streams_file).partitions
        self.sagas = tuple(catalog.declared_in("sagas", "SAGAS") or ())
        self.told_fields = ToldFields(self.contexts)

    async def read(
        self, broker: Broker, key: str, *, everything: bool = False, patience: Patience | None = None
    ) -> Reading:
        """Read the streams, ask all contexts, and look into the databases on this machine."""
        now = self._clock.now()
        evidence = await collect(broker, self.contexts, key, self.partitions, now, sides=self.sides, patience=patience)
        messages = await read_saga(broker, key, everything=True) if everything else [*evidence.messages]
        ahead = ahead_of(evidence, self.flow, self.sagas)
        annotations = annotate(self._databases, catalog.names(), key, messages)
        messages = [*messages, *annotations.missing]
        return Reading(messages, with_ahead(tree(messages), ahead), annotations, evidence)

    def standings(self, reading: Reading) -> list[str]:
        """A line for each saga of the key."""
        return standings(self.sagas, reading.messages, self._clock.now())

    def explain(self, evidence: Evidence) -> Explanation:
        """The causes for which the saga waits."""
        return explain(evidence, self.members, self.sagas, standings(self.sagas, evidence.messages, evidence.at))
