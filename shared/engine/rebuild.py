"""Makes a lost database anew from EVENTS: own events give journal, states and effects, their causes give the inbox.

Every fact that changes a state is in the stream, so nothing is decided again. The position of a partition becomes the
last message that led to an own event; what comes after it the worker takes again, and is quiet where it was quiet.
"""

import re
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite_schema import DatabaseError
from shared.context import Context
from shared.engine.fold import Fold, shape_of
from shared.engine.reactions import Reactions
from shared.engine.rows import MESSAGE_ID_REUSED, conflict_id, timer_row
from shared.engine.store import Store
from shared.engine.tables import SNAPSHOTS, JournalRow, Move
from shared.engine.transaction import Transaction
from shared.engine_events import CommandRejected
from shared.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    MSG_ID,
    Subject,
    content_hash,
    parse_subject,
    partition_of,
    place_id,
)
from shared.ports import Broker, Stored
from shared.streams import EVENTS

BATCH = 1_000

_log = structlog.get_logger("chorus.rebuild")
_rejection = msgspec.json.Decoder(CommandRejected)


class Rebuilt(NamedTuple):
    """What was found in EVENTS: own events, messages known as decided, aggregates, effects without an outcome."""

    events: int
    inbox: int
    aggregates: int
    effects: int
    set_aside: Path | None


class _Heard(NamedTuple):
    hash: bytes
    sequence: int
    partition: int


async def rebuild(context: Context, broker: Broker, data_dir: Path, *, partitions: int, force: bool = False) -> Rebuilt:
    """Make `<data_dir>/<context>.db` from EVENTS. No worker of the context may run.

    Raises:
        DatabaseError: a database is there and `force` is not given. With it, the old one is set aside, not deleted.
    """
    path = data_dir / f"{context.name}.db"
    set_aside = _set_aside(path, force=force)
    info = await broker.stream_info(EVENTS)
    reactions = Reactions(context, partitions=partitions)
    gathered = _Gathered(reactions)
    async for stored in broker.read(EVENTS, "evt.>", up_to=info.last_sequence):
        gathered.add(stored)
    store = await Store.open(path, context=context.name)
    try:
        await store.transact(gathered.write)
        created = info.created
        await store.transact(lambda transaction: transaction.set_meta(f"created {EVENTS}", created))
    finally:
        await store.close()
    rebuilt = Rebuilt(
        len(gathered.ids), len(gathered.inbox), len(gathered.fold.states), len(gathered.open_effects), set_aside
    )
    _log.info("rebuilt", context=context.name, **{k: str(v) for k, v in rebuilt._asdict().items()})
    return rebuilt


class _Gathered:
    """Everything the database will hold, gathered in stream order."""

    def __init__(self, reactions: Reactions) -> None:
        self.ids: set[str] = set()
        self.inbox: dict[str, bytes] = {}
        self.fold = Fold(reactions.context)
        self.open_effects: dict[str, tuple[int, str, int]] = {}
        self._reactions = reactions
        self._own_id = re.compile(rf"{reactions.context.name}/(.+)@([1-9][0-9]{{0,11}})")
        self._rows: list[JournalRow] = []
        self._marks: list[tuple[int, int]] = []
        self._heard: dict[str, _Heard] = {}
        self._unheard: set[str] = set()
        """What own events say led to them and was not met before them."""
        self._put_together = False
        """Whether something stands before what led to it: the stream was lost, and journals gave back what it had."""
        self._positions: dict[int, tuple[int, str]] = {}
        self._own_bodies: dict[str, bytes] = {}

    def add(self, stored: Stored) -> None:
        """Take in one event: an own one, one that is heard, or neither."""
        try:
            subject = parse_subject(stored.subject)
        except ValueError:
            return  # A forged key; no context of ours publishes under it.
        identity = stored.headers.get(MSG_ID) or place_id(EVENTS, stored.sequence, stored.at)
        if self._reactions.hears(subject):
            heard = _Heard(content_hash(stored.body), stored.sequence, subject.partition)
            self._heard.setdefault(identity, heard)
            if identity in self._unheard:
                self._put_together = True
                self.inbox.setdefault(identity, heard.hash)
        if subject.context == self._reactions.context.name and identity not in self.ids:
            own = self._own_id.fullmatch(identity)
            if own is None:
                _log.error("left out: not an id of ours", id=identity, subject=stored.subject, sequence=stored.sequence)
                return
            self.ids.add(identity)
            self._add_own(stored, subject, own)

    def _add_own(self, stored: Stored, subject: Subject, own: re.Match[str]) -> None:
        identity = own[0]
        aggregate_id, version = own[1], own[2]
        headers = {  # Those of the server, of its batches for one, the journal never had.
            name: value for name, value in stored.headers.items() if name == MSG_ID or not name.startswith("Nats-")
        }
        row = JournalRow(
            identity,
            aggregate_id,
            int(version),
            f"evt.{subject.context}.{subject.type}.{subject.key}",
            subject.type,
            headers,
            stored.body,
            partition_of(subject.key, self._reactions.partitions),
        )
        self._rows.append(row)
        self._marks.append((len(self._rows), stored.sequence))
        self._remember_cause(subject.type, stored)
        event = self.fold.add(row)
        if event is None:
            return
        kind = type(event)
        if kind in self._reactions.effects:
            self.open_effects[identity] = (len(self._rows), subject.key, row.partition)
        timer = self._reactions.timers.get(kind)
        if timer is not None and (at := timer.at(event)) is not None:
            self._own_bodies[f"{identity}/{timer.name}"] = stored.body
            self._rows.append(timer_row(self._reactions.context.name, row, timer.name, subject.key, at))

    def _remember_cause(self, kind: str, stored: Stored) -> None:
        cause = stored.headers.get(CAUSATION_ID, "")
        self.open_effects.pop(cause, None)
        if (of_command := stored.headers.get(CAUSATION_HASH)) is not None:
            content = bytes.fromhex(of_command)
            reused = kind == CommandRejected.__name__ and _rejection.decode(stored.body).reason == MESSAGE_ID_REUSED
            self.inbox[conflict_id(cause, content) if reused else cause] = content
        elif (armed := self._own_bodies.get(cause)) is not None:
            self.inbox[cause] = content_hash(armed)
        elif (heard := self._heard.get(cause)) is not None:
            self.inbox[cause] = heard.hash
            if heard.sequence > self._positions.get(heard.partition, (0, ""))[0]:
                self._positions[heard.partition] = (heard.sequence, cause)
        else:
            self._unheard.add(cause)

    def write(self, transaction: Transaction) -> None:
        """Write it all into an empty database.

        What stands before our position was decided, unless the stream was put together anew: then only what led to
        something is known to have been, and the worker reads all from the beginning.
        """
        if self._put_together:
            self._positions.clear()
        for identity, heard in self._heard.items():
            if heard.sequence <= self._positions.get(heard.partition, (0, ""))[0]:
                self.inbox.setdefault(identity, heard.hash)
        for first in range(0, len(self._rows), BATCH):
            transaction.append(self._rows[first : first + BATCH])
        transaction.mark_published(self._marks)
        transaction.snapshot(self.fold.snapshots())
        transaction.set_meta(SNAPSHOTS, shape_of(self._reactions.context))
        transaction.ask([(n, identity, key, p) for identity, (n, key, p) in self.open_effects.items()])
        transaction.remember(list(self.inbox.items()))
        transaction.move(
            [Move(EVENTS, partition, 0, seq, identity) for partition, (seq, identity) in self._positions.items()]
        )


def _set_aside(path: Path, *, force: bool) -> Path | None:
    if not path.exists():
        return None
    if not force:
        raise DatabaseError(f"{path} is there; stop its worker and use --force to set it aside and make it anew")
    stamp = SystemClock().now().strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.name}.{stamp}.aside")
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    return aside
