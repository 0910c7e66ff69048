"""What waits for an operator: parked messages, and journal rows that the broker refuses for good."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from msgspec import Struct

from shared.adapters.sqlite.journal.store import SqliteStore
from shared.inspect.read_only import read_only
from shared.ports.store import Transaction
from shared.wire.streams import STREAM_OF

T = TypeVar("T")


class Parked(Struct, frozen=True, kw_only=True):
    """One parked message; `reason` is empty when it only waits behind another of its key."""

    id: int
    context: str
    key: str
    message_id: str
    subject: str
    stream: str
    sequence: int
    at: datetime
    headers: str
    body: str
    reason: str
    verdict: str

    @property
    def number(self) -> str:
        """How commands name it."""
        return f"{self.context}/{self.id}"

    @property
    def cause(self) -> str:
        """The last line of the reason, which names the error."""
        lines = self.reason.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def remedy(self) -> str:
        """What an operator can do about it."""
        return f"mend the cause, then chorus parked retry {self.key}; or chorus parked skip {self.number}"


class Refused(Struct, frozen=True, kw_only=True):
    """One journal row that the broker refuses for good; all later rows of its key wait behind it.

    `sequence` is where another message stands under its id, or 0; `behind` is how many rows of the key wait.
    """

    n: int
    context: str
    key: str
    message_id: str
    subject: str
    at: datetime
    headers: str
    body: str
    reason: str
    sequence: int
    behind: int
    verdict: str

    @property
    def number(self) -> str:
        """How commands name it."""
        return f"{self.context}/r{self.n}"

    @property
    def cause(self) -> str:
        """Why the broker refuses it."""
        return self.reason

    @property
    def stream(self) -> str:
        """The stream that refuses it."""
        return STREAM_OF[self.subject.split(".", 1)[0]]

    @property
    def remedy(self) -> str:
        """What an operator can do about it."""
        if not self.sequence:
            return f"mend the cause, then chorus parked retry {self.number}"
        return (
            f"chorus parked void {self.number} publishes the event under its next edition; chorus parked retry"
            f" {self.number} publishes it as it is, once the duplicate window of {self.stream} has passed"
        )


Unresolved: TypeAlias = Parked | Refused
Item = TypeVar("Item", Parked, Refused, Unresolved)


class NothingFoundError(Exception):
    """There is no such parked message or refused row; the text names what was looked for."""


def parked_in(data_dir: Path, contexts: Iterable[str]) -> list[Parked]:
    """Every parked message of these contexts on this machine, oldest first; contexts without a database have none."""
    found = []
    for context in contexts:
        path = data_dir / f"{context}.db"
        if path.is_file():
            found += _read(context, path)
    return sorted(found, key=lambda message: (message.at, message.id))


def refused_in(data_dir: Path, contexts: Iterable[str]) -> list[Refused]:
    """Every journal row of these contexts on this machine that the broker refuses, oldest first."""
    found = []
    for context in contexts:
        path = data_dir / f"{context}.db"
        if path.is_file():
            found += _read_refused(context, path)
    return sorted(found, key=lambda row: (row.at, row.n))


def choose(unresolved: Sequence[Item], what: str) -> list[Item]:
    """Those under a key, or the one with a message id or a number as `Parked.number` and `Refused.number` have it.

    Raises:
        NothingFoundError: none is.
    """
    chosen = [one for one in unresolved if what in (one.key, one.message_id, one.number)]
    if not chosen:
        keys = sorted({one.key for one in unresolved})
        raise NothingFoundError(f"nothing is parked as {what!r}; parked keys: {', '.join(keys) or 'none'}")
    return chosen


async def retry(data_dir: Path, chosen: Sequence[Unresolved], *, who: str) -> int:
    """Let the workers decide parked messages or publish refused rows again; how many there still were."""
    return await _say(data_dir, chosen, "retry", who=who, why="")


async def skip(data_dir: Path, message: Parked, *, who: str, why: str) -> int:
    """Let the workers leave this one out for good, and go on with what waits behind it."""
    return await _say(data_dir, [message], "skip", who=who, why=why)


async def _say(data_dir: Path, chosen: Sequence[Unresolved], verdict: str, *, who: str, why: str) -> int:
    said = 0
    for context in dict.fromkeys(one.context for one in chosen):
        ours = [one for one in chosen if one.context == context]
        parked = [one.id for one in ours if isinstance(one, Parked)]
        refused = [one.n for one in ours if isinstance(one, Refused)]
        give = partial(_give, parked=parked, refused=refused, verdict=verdict, who=who, why=why)
        said += await transact(data_dir, context, give)
    return said


def _give(
    transaction: Transaction, parked: Sequence[int], refused: Sequence[int], verdict: str, who: str, why: str
) -> int:
    given = transaction.parked.give_verdict(parked, verdict, who=who, why=why) if parked else 0
    return given + (transaction.refused.give_verdict(refused, verdict, who=who, why=why) if refused else 0)


async def transact(data_dir: Path, context: str, work: Callable[[Transaction], T]) -> T:
    """Run one transaction on a context's database, beside its workers or while they are stopped."""
    store = await SqliteStore.open(data_dir / f"{context}.db", context=context)
    try:
        return await store.transact(work)
    finally:
        await store.close()


def _read(context: str, path: Path) -> list[Parked]:
    columns = "id, key, message_id, subject, stream, seq, at_ns, headers, body, reason, verdict"
    with read_only(path, context) as connection:
        rows = connection.execute(f"SELECT {columns} FROM parked ORDER BY id").fetchall()  # noqa: S608  No input.
    return [
        Parked(
            id=number,
            context=context,
            key=key,
            message_id=message_id,
            subject=subject,
            stream=stream,
            sequence=sequence,
            at=datetime.fromtimestamp(at_ns / 1e9, UTC),
            headers=headers,
            body=body.decode(errors="backslashreplace"),
            reason=reason,
            verdict=verdict,
        )
        for number, key, message_id, subject, stream, sequence, at_ns, headers, body, reason, verdict in rows
    ]


def _read_refused(context: str, path: Path) -> list[Refused]:
    behind = (
        "SELECT count(*) FROM journal later WHERE later.published_seq IS NULL AND later.partition = refused.partition"
        " AND later.n > refused.n AND substr(later.subject, -1 - length(key)) = '.' || key"
    )
    with read_only(path, context) as connection:
        rows = connection.execute(
            "SELECT n, key, event_id, subject, since, headers, body, reason, seq, verdict,"  # noqa: S608  No input.
            f" ({behind}) FROM refused JOIN journal USING (n) WHERE published_seq IS NULL ORDER BY n"
        ).fetchall()
    return [
        Refused(
            n=n,
            context=context,
            key=key,
            message_id=event_id,
            subject=subject,
            at=datetime.fromisoformat(since),
            headers=headers,
            body=body,
            reason=reason,
            sequence=seq,
            verdict=verdict,
            behind=waiting,
        )
        for n, key, event_id, subject, since, headers, body, reason, seq, verdict, waiting in rows
    ]
