"""Turns deliveries of EVENTS into events to fold: those of known contexts, in their own form, each once.

A stored duplicate has the id of an event that was folded before. The versions of one aggregate come in order, so the
last version of each aggregate is enough to know a duplicate by; where that version has editions, the last one too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from shared.ports.broker import Delivery
from shared.readside.group import Group
from shared.readside.views import Told
from shared.wire.bodies import MalformedBodyError
from shared.wire.messages import MSG_ID, OCCURRED_AT, aggregate_id, is_event_id

UNREADABLE: Final = (ValueError, TypeError, OverflowError, RecursionError)
"""The errors of msgspec and of Python's times on garbage; msgspec's own errors are ValueErrors."""
DIGITS_AT_MOST: Final = 12
"""No context gives a longer version, and no integer of a database could hold any that a stranger may give."""


class Heard(NamedTuple):
    """One event to fold; `kind` is `(context, type)`, and `identity` its id.

    An event of the group itself has no content: only its time matters, which moves stream time on.
    """

    kind: tuple[str, str]
    identity: str
    told: Told
    content: Any
    headers: Mapping[str, str]
    is_own: bool = False
    body: bytes = b""


class Poison(NamedTuple):
    """An event that cannot be read or folded."""

    sequence: int
    subject: str
    reason: str


@dataclass(slots=True)
class Admitted:
    """The outcome of one batch: the events to fold, and the versions to remember."""

    heard: list[Heard]
    versions: dict[str, int]
    poison: list[Poison]
    strangers: int = 0
    duplicates: int = 0


class _Named(NamedTuple):
    """A delivery whose id has the form that its context gives."""

    aggregate: str
    version: int
    edition: int
    kind: tuple[str, str]
    key: str
    delivery: Delivery

    @property
    def remembered(self) -> tuple[str, ...]:
        """The names under which the database remembers it: its aggregate, and its version where it has editions."""
        if not self.aggregate:
            return ()
        return (self.aggregate,) if self.edition == 1 else (self.aggregate, f"{self.aggregate}@{self.version}")


class Intake:
    """Knows the events that a group hears."""

    def __init__(self, context: str, group: Group) -> None:
        self._own = {(context, says.type.__name__) for says in group.says}
        self._decoders: Mapping[tuple[str, str], msgspec.json.Decoder[Any]] = {
            (source, event.__name__): msgspec.json.Decoder(event) for source, event in group.hears
        }
        self._older = {
            (source, event.__name__): older
            for source, event in group.hears
            if (older := group.decoder_of(event, source).if_any) is not None
        }

    def named(self, deliveries: Iterable[Delivery]) -> tuple[list[_Named], list[tuple[int, str]], int]:
        """The events that the group hears, (sequence, id) of its own events, and the number of strangers' events."""
        found: list[_Named] = []
        own: list[tuple[int, str]] = []
        strangers = 0
        for delivery in deliveries:
            tokens = delivery.subject.split(".", 4)
            if len(tokens) != 5:
                strangers += 1
                continue
            kind, key = (tokens[1], tokens[2]), tokens[4]
            if kind in self._own:
                identity = delivery.headers.get(MSG_ID, "")
                if (
                    not is_event_id(identity)
                    or identity.rpartition("@")[0] != f"{kind[0]}/{own_aggregate(kind[1], key)}"
                ):
                    strangers += 1
                    continue
                own.append((delivery.sequence, identity))
                found.append(_Named("", 0, 1, kind, key, delivery))
                continue
            if kind not in self._decoders:
                continue  # While it catches up, the group reads everything.
            aggregate, at, numbers = delivery.headers.get(MSG_ID, "").rpartition("@")
            version, _, edition = numbers.partition(".")
            context, _, rest = aggregate.partition("/")
            named = rest.partition("-")[2]
            is_number = all(one.isdecimal() and len(one) <= DIGITS_AT_MOST for one in (version, edition or "1"))
            if not at or not is_number or context != kind[0] or named.partition(".")[0] != key:
                strangers += 1
                continue
            found.append(_Named(aggregate, int(version), int(edition or 1), kind, key, delivery))
        return found, own, strangers

    def admit(self, named: Sequence[_Named], versions: dict[str, int], strangers: int) -> Admitted:
        """Dedup: admit the events that are newer than the `versions` that the database remembers."""
        admitted = Admitted([], {}, [], strangers)
        for one in named:
            kind, key, delivery = one.kind, one.key, one.delivery
            is_own = kind in self._own
            if not is_own:
                if _is_known(one, versions):
                    admitted.duplicates += 1
                    continue
                now = dict(zip(one.remembered, (one.version, one.edition), strict=False))
                versions |= now
                admitted.versions |= now
            try:
                content = None if is_own else self._content(kind, key, delivery)
                at = _occurred_at(delivery)
            except UNREADABLE as error:
                admitted.poison.append(Poison(delivery.sequence, delivery.subject, f"{type(error).__name__}: {error}"))
                continue
            told = Told(delivery.sequence, key, at)
            admitted.heard.append(
                Heard(kind, delivery.headers[MSG_ID], told, content, delivery.headers, is_own, delivery.body)
            )
        return admitted

    def _content(self, kind: tuple[str, str], key: str, delivery: Delivery) -> Any:
        """The event in its newest form; raises ValueError."""
        older = self._older.get(kind)
        if older is None or not older.is_older(delivery.headers):
            return self._decoders[kind].decode(delivery.body)
        try:
            return older.decode(delivery.body, key=key, at=delivery.at, headers=delivery.headers)
        except MalformedBodyError as error:
            raise ValueError(f"{error.path}: {error.problem}") from error


def own_aggregate(kind: str, key: str) -> str:
    """The aggregate of an event that a group says, by its type."""
    return aggregate_id(f"{kind[0].lower()}{kind[1:]}", key)


def _is_known(one: _Named, versions: Mapping[str, int]) -> bool:
    """Whether the event was folded before.

    A later edition is the same fact again, after an operator declared the earlier one a stranger's.
    """
    last = versions.get(one.aggregate, 0)
    if one.version != last:
        return one.version < last
    return one.edition <= versions.get(f"{one.aggregate}@{one.version}", 1)


def _occurred_at(delivery: Delivery) -> datetime:
    """The event time in UTC; raises ValueError, TypeError or OverflowError.

    No event occurs after it was stored: a clock that is ahead must not close windows early.
    """
    said = delivery.headers.get(OCCURRED_AT)
    return delivery.at if said is None else min(datetime.fromisoformat(said), delivery.at).astimezone(UTC)
