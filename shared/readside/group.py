"""Declares the read side of a system: consumer groups that fold EVENTS into tables and answer queries.

A group is a process of its own with a database of its own. It reads EVENTS in the order of the stream, gives no
command, and no saga waits for it. Everything in its database follows from the stream, so it may be stopped, lost and
rebuilt at any time.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from msgspec import Struct

from shared.config.secrets import Secret, SecretUrl
from shared.endpoint import Endpoint
from shared.readside.dataflow import Says, Source, Topology
from shared.readside.views import Query, Table
from shared.upcaster import EventDecoder, Upcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwards:
    """Sends events to an HTTP endpoint, each as a CloudEvent that is signed with `secret`.

    Events of one key are sent in their order. Events that occurred before `since` are not sent.
    """

    events: tuple[Source, ...]
    url: SecretUrl
    secret: Secret
    timeout_s: float = 10.0
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A consumer group: it has tables and topologies, or else it `forwards` events.

    `upcasters` make the form that it reads from older forms of events.

    Raise `version` when a fold gives other rows for the same events. A process folds EVENTS again from the first event
    when its database is of another version, or of a group that heard other events or had other tables or fields.

    With `requires_actor`, a query has to name its actor in `Acting-For`. Only on `api.<context>.any.<Query>`, which the
    rights of users keep for operators and testers, it need not.
    """

    name: str
    tables: tuple[Table, ...] = ()
    topologies: tuple[Topology, ...] = ()
    queries: tuple[Query, ...] = ()
    upcasters: tuple[Upcaster, ...] = ()
    version: int = 1
    requires_actor: bool = False
    forwards: Forwards | None = None

    def decoder_of(self, event: type[Struct], source: str) -> EventDecoder:
        """Decodes an event of a context in each of its versions."""
        return EventDecoder(event, (one for one in self.upcasters if one.is_of(source, event)))

    @property
    def hears(self) -> tuple[tuple[str, type[Struct]], ...]:
        """Every event that the group reads of other contexts, as (context, type), each once."""
        sources = [source for topology in self.topologies for source in topology.all_sources]
        sources += () if self.forwards is None else self.forwards.events
        flowing = [(source.context, event) for source in sources for event in source.events]
        return tuple(dict.fromkeys([*((on.source, on.event) for table in self.tables for on in table.on), *flowing]))

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Its tables, and those that its topologies write."""
        written = (table for topology in self.topologies for table in topology.tables)
        return tuple({table.name: table for table in (*self.tables, *written)}.values())

    @property
    def says(self) -> tuple[Says, ...]:
        """The events that it publishes."""
        return tuple(says for topology in self.topologies for says in topology.says)

    @property
    def buckets(self) -> tuple[Table, ...]:
        """The tables that are also KV buckets."""
        return tuple(table for table in self.all_tables if table.bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSide:
    """The read side of a system: it decides nothing, and its groups read the events of the contexts."""

    name: str
    groups: tuple[Group, ...]
    schema_version: int = 1
    accepts: tuple[type[Struct], ...] = field(default=(), init=False)
    endpoints: tuple[Endpoint, ...] = field(default=(), init=False)
    """It takes no command, and its queries are no requests that are decided."""

    @property
    def upcasters(self) -> tuple[Upcaster, ...]:
        """Those of its groups, each once."""
        return tuple(dict.fromkeys(one for group in self.groups for one in group.upcasters))

    def decoder_of(self, event: type[Struct], source: str = "") -> EventDecoder:
        """Decodes an event of a context, or of the read side itself, in each of its versions."""
        return EventDecoder(event, (one for one in self.upcasters if one.is_of(source, event)))

    @property
    def publishes(self) -> tuple[type[Struct], ...]:
        """Every event type that its groups publish, each once."""
        return tuple(dict.fromkeys(says.type for group in self.groups for says in group.says))

    def group(self, name: str) -> Group | None:
        """The group of this name."""
        return next((group for group in self.groups if group.name == name), None)


ANY: Final = "any"
"""The token of the subjects on which queries are asked about the things of any actor: `api.<context>.any.<Query>`."""


def catch_up_of(place: str) -> str:
    """The name of the consumer by which a group that is far behind reads all of EVENTS."""
    return f"{place}-all"


def place_of(context: str, group: str) -> str:
    """The name of a group's database, service and consumer: `<context>-<group>`."""
    return f"{context}-{group}"
