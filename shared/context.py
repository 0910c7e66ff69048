"""Declares a bounded context: the whole wiring of a worker as one value.

`contexts/<name>/worker.py` has one function, `context(settings) -> Context`, and everything else (consumers, the loop,
the canvas tests, the flow graph) is derived from its result.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from msgspec import Struct

from shared.effect import Call as Call
from shared.effect import Effect as Effect
from shared.effect import UnknownOutcomeError as UnknownOutcomeError
from shared.endpoint import NO_ENDPOINTS as NO_ENDPOINTS
from shared.endpoint import Answer as Answer
from shared.endpoint import Endpoint as Endpoint
from shared.endpoint import Endpoints as Endpoints
from shared.endpoint import Request as Request
from shared.readside.group import ReadSide
from shared.upcaster import EventDecoder
from shared.upcaster import Upcaster as Upcaster
from shared.wire.engine_events import Detail as Detail
from shared.wire.messages import aggregate_id

Event: TypeAlias = Struct
Command: TypeAlias = Struct
State: TypeAlias = Struct


class Rejected(Struct, frozen=True, kw_only=True):
    """A decision that the command cannot be obeyed, where the context has no event of its own for it.

    The engine publishes it as `CommandRejected` under the command's key. `reason` is from a closed set of the context.
    """

    reason: str
    details: tuple[Detail, ...] = ()

    @classmethod
    def at(cls, reason: str, path: str, message: str) -> Self:
        """Reject a command for the value at one JSON path of it; `$` is the whole command."""
        return cls(reason=reason, details=(Detail(path=path, message=message),))


Events: TypeAlias = tuple[Event, ...]
"""The result of a decision. A `Rejected` stands alone in it."""

Asked: TypeAlias = str | tuple[str, str | int]
"""Names one aggregate of a kind: its key, or (key, part) where the kind has parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Something that keeps an invariant. Its state is the fold of its events and starts as `state()`.

    `name` is how event ids spell it (`thing` in `here/thing-k-42@1`); `key` is the field by which its commands and
    its events name one (`thing_id`). `linger_s` is how long its events may wait for each other before they are
    published in one batch, which saves disk syncs; use it for events that nobody waits for.

    `part` is a second field, for an aggregate of which one key has many: with `key="thing_id", part="item_id"` each
    item of a thing is an aggregate of its own (`here/item-k-42.p-1@1`). Subjects and partitions still go by `key`, so
    all of them are decided in order and in one place.

    `once` are the events that an aggregate publishes at most once, whatever its commands are (`(Event, "field", …)`:
    once for each value of these fields). They bound a cycle of reactions (`chorus flow --check`).
    """

    name: str
    key: str
    state: type[State]
    events: tuple[type[Event], ...]
    evolve: Callable[[Any, Any], Any]
    linger_s: float = 0.0
    part: str | None = None
    once: tuple[type[Event] | tuple[Any, ...], ...] = ()

    @property
    def once_by(self) -> Mapping[type[Event], tuple[str, ...]]:
        """The events of `once`, each with its fields."""
        return {named[0]: named[1:] for named in (one if isinstance(one, tuple) else (one,) for one in self.once)}

    def id_of(self, message: Any) -> str:
        """The id of the aggregate that a command or an event names."""
        part = None if self.part is None else getattr(message, self.part)
        return aggregate_id(self.name, getattr(message, self.key), part)

    def id_from(self, asked: Asked) -> str:
        """The id of the aggregate that a decision asks for."""
        if self.part is None:
            assert isinstance(asked, str), f"ask for a {self.name} by its key, not by {asked}"
            return aggregate_id(self.name, asked)
        assert isinstance(asked, tuple), f"ask for a {self.name} by its key and its {self.part}, not by {asked}"
        key, part = asked
        return aggregate_id(self.name, key, part)


@dataclass(frozen=True, slots=True)
class Reads:
    """Other aggregates of the context that a decision reads; its events may belong to them too.

    `keys(command)` names those that a command will surely read: a batch loads them in one query together with the
    aggregates of its commands. `keys_in(command, state)` names those that the state of its aggregate leads to: a batch
    loads them in a second query. A decision may ask for more, which cost a query each.
    """

    aggregate: Aggregate
    keys: Callable[[Any], Iterable[Asked]] | None = None
    keys_in: Callable[[Any, Any], Iterable[Asked]] | None = None


KeysKnown: TypeAlias = tuple[tuple[Aggregate, Callable[[Any], Iterable[Asked]]], ...]
KeysInState: TypeAlias = tuple[tuple[Aggregate, Callable[[Any, Any], Iterable[Asked]]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decider:
    """Answers commands of one aggregate with `decide(command, state) -> events`, a pure function.

    With `also_reads`, a decision also reads other aggregates of the context, whatever their keys and partitions:
    `decide(command, state, things, others)` has a mapping for each kind, in the order of `also_reads`; `things[key]` is
    the state of one, or `things[key, part]` where that kind has parts. A context has one writing transaction at a time,
    which reads, decides and commits, so no other process changes these meanwhile.
    """

    aggregate: Aggregate
    commands: tuple[type[Command], ...]
    decide: Callable[..., Events]
    also_reads: tuple[Reads, ...] = ()

    @property
    def keys_known(self) -> KeysKnown:
        """The kinds whose keys a command names, with the function that does."""
        return tuple((reads.aggregate, reads.keys) for reads in self.also_reads if reads.keys is not None)

    @property
    def keys_in_state(self) -> KeysInState:
        """The kinds whose keys the state names, with the function that does."""
        return tuple((reads.aggregate, reads.keys_in) for reads in self.also_reads if reads.keys_in is not None)

    @property
    def kinds(self) -> tuple[Aggregate, ...]:
        """Every kind of aggregate that a decision reads or changes, its own first."""
        return (self.aggregate, *(reads.aggregate for reads in self.also_reads))


Past: TypeAlias = Literal["none", "all", "last"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Whenever `source`, a context, publishes this event, `whenever(event)` gives commands for this context's deciders.

    `event` is declared in this context's `upstream.py`, with the publisher's class name and the fields that are read.

    A context whose database is older than a policy of it hears the event from its position on. `past` says which of
    the earlier ones it hears too, when it starts: none, all, or the last of each key, for state that events carry.
    """

    source: str
    event: type[Event]
    whenever: Callable[[Any], Sequence[Command]]
    past: Past = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A deadline: `armed_by` this event of the context for the moment `at(event)` (None: not at all).

    When due, `whenever_due(event)` gives the commands. A later event of the same type and key replaces the deadline, so
    no event of an aggregate with parts can arm one.
    """

    name: str
    armed_by: type[Event]
    at: Callable[[Any], datetime | None]
    whenever_due: Callable[[Any], Sequence[Command]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A bounded context. `accepts` are the commands that clients may send; the other commands stay in the process.

    Every event carries `schema_version`. Raise it when an event gets a new form; `upcasters` then make the new form of
    older events, of the context's own ones and of other contexts'. Raise it also when an `evolve` gives another state
    for the same events: a worker then folds all states again when it starts, as it does when a state has other fields.

    `gather_s` is a pause between two batches, in which messages gather, so that one disk sync serves many of them. Use
    it in a context that nobody waits for.

    `unheard` are the events that no context needs to hear: they are for clients and read models, or only the memory of
    their aggregate. `chorus flow --check` reports every other event that nobody hears.

    `endpoints` are the requests that it answers; on the subject `lookup`, if there is one, clients ask for the answer
    that an `Idempotency-Key` had. `before_open(directory, partitions)` runs in a worker before it opens the database
    there, for example to take over what an older release kept in another form.
    """

    name: str
    deciders: tuple[Decider, ...]
    accepts: tuple[type[Command], ...] = ()
    policies: tuple[Policy, ...] = ()
    timers: tuple[Timer, ...] = ()
    effects: tuple[Effect, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    lookup: str = ""
    schema_version: int = 1
    upcasters: tuple[Upcaster, ...] = ()
    gather_s: float = 0.0
    unheard: tuple[type[Event], ...] = ()
    close: Callable[[], Awaitable[None]] | None = None
    before_open: Callable[[Path, int], Awaitable[None]] | None = None

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """Every aggregate once, in the order of the deciders."""
        found: dict[str, Aggregate] = {}
        for aggregate in (aggregate for decider in self.deciders for aggregate in decider.kinds):
            found.setdefault(aggregate.name, aggregate)
        return tuple(found.values())

    def decoder_of(self, event: type[Event], source: str = "") -> EventDecoder:
        """Decodes an event of this context, or of another one (`source`), in each of its versions."""
        return EventDecoder(event, (one for one in self.upcasters if one.is_of(source, event)))

    @property
    def publishes(self) -> tuple[type[Event], ...]:
        """Every event type of the context's aggregates."""
        return tuple(event for aggregate in self.aggregates for event in aggregate.events)


Member: TypeAlias = Context | ReadSide
"""Declared by the worker.py of a folder: a context, or the read side."""
