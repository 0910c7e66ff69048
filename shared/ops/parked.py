"""Messages that wait because our code could not take one of their key: which, and what becomes of them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from msgspec import Struct

from shared.engine.store import Store
from shared.engine.transaction import Transaction
from shared.ops.beside import reading


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
    def cause(self) -> str:
        """The last line of the reason, which names the error."""
        lines = self.reason.strip().splitlines()
        return lines[-1] if lines else ""


class NothingParkedError(Exception):
    """There is no such parked message; the text names what was looked for."""


def parked_in(data_dir: Path, contexts: Iterable[str]) -> list[Parked]:
    """Every parked message of these contexts on this machine, oldest first; contexts without a database have none."""
    found = []
    for context in contexts:
        path = data_dir / f"{context}.db"
        if path.is_file():
            found += _read(context, path)
    return sorted(found, key=lambda message: (message.at, message.id))


def choose(parked: Sequence[Parked], what: str) -> list[Parked]:
    """Those under a key, or the one with a message id or a number written as `context/number`.

    Raises:
        NothingParkedError: none is.
    """
    chosen = [m for m in parked if what in (m.key, m.message_id, f"{m.context}/{m.id}")]
    if not chosen:
        keys = sorted({m.key for m in parked})
        raise NothingParkedError(f"nothing is parked as {what!r}; parked keys: {', '.join(keys) or 'none'}")
    return chosen


async def retry(data_dir: Path, messages: Sequence[Parked], *, who: str) -> int:
    """Let the workers try these again within a second or two, in order, with all that waits behind them."""
    return await _say(data_dir, messages, "retry", who=who, why="")


async def skip(data_dir: Path, message: Parked, *, who: str, why: str) -> int:
    """Let the workers leave this one out for good, and go on with what waits behind it."""
    return await _say(data_dir, [message], "skip", who=who, why=why)


async def _say(data_dir: Path, messages: Sequence[Parked], verdict: str, *, who: str, why: str) -> int:
    said = 0
    for context in dict.fromkeys(message.context for message in messages):
        numbers = [message.id for message in messages if message.context == context]
        store = await Store.open(data_dir / f"{context}.db", context=context)
        try:
            said += await store.transact(partial(_give, numbers=numbers, verdict=verdict, who=who, why=why))
        finally:
            await store.close()
    return said


def _give(transaction: Transaction, numbers: Sequence[int], verdict: str, who: str, why: str) -> int:
    return transaction.parking.give_verdict(numbers, verdict, who=who, why=why)


def _read(context: str, path: Path) -> list[Parked]:
    columns = "id, key, message_id, subject, stream, seq, at_ns, headers, body, reason, verdict"
    with reading(path, context) as connection:
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
