"""Reads what came of an operator's verdicts, until the workers have acted on all of them."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from shared.inspect.read_only import read_only
from shared.ports.clock import Clock
from shared.repair.parked import Parked, Unresolved

POLL_S: Final = 0.1

State: TypeAlias = Literal["pending", "open", "settled"]
"""`pending`: no worker has acted yet. `open`: it waits for an operator again. `settled`: resolved."""


class VerdictResult(Struct, frozen=True, kw_only=True):
    """The result of one verdict; `outcome` says it in words."""

    number: str
    key: str
    message_id: str
    outcome: str
    is_settled: bool = False
    is_pending: bool = False


async def wait_for_results(
    data_dir: Path, chosen: Sequence[Unresolved], clock: Clock, *, timeout_s: float
) -> list[VerdictResult]:
    """Wait until the workers have acted on every verdict, at most `timeout_s`, and return what came of each."""
    until = clock.monotonic() + timeout_s
    while True:
        results = [_result(data_dir, one) for one in chosen]
        if not any(result.is_pending for result in results) or clock.monotonic() >= until:
            return results
        await clock.sleep(POLL_S)


def _result(data_dir: Path, one: Unresolved) -> VerdictResult:
    with read_only(data_dir / f"{one.context}.db", one.context) as connection:
        outcome, state = _of_parked(connection, one) if isinstance(one, Parked) else _of_refused(connection, one.row)
    if state == "pending" and not outcome:
        outcome = f"no worker of {one.context} has acted on it; see chorus health {one.context}"
    return VerdictResult(
        number=one.number,
        key=one.key,
        message_id=one.message_id,
        outcome=outcome,
        is_settled=state == "settled",
        is_pending=state == "pending",
    )


def _of_parked(connection: sqlite3.Connection, message: Parked) -> tuple[str, State]:
    found = connection.execute(
        "SELECT reason, verdict FROM parked WHERE id = ? AND message_id = ?", (message.row, message.message_id)
    ).fetchone()
    if found is None:
        skipped = connection.execute("SELECT 1 FROM skipped WHERE message_id = ?", (message.message_id,)).fetchone()
        return ("decided" if skipped is None else "skipped"), "settled"
    reason, verdict = found
    if verdict:
        return "", "pending"
    if not reason:
        return "still waits behind the one before", "open"
    return f"parked again: {reason.strip().splitlines()[-1]}", "open"


def _of_refused(connection: sqlite3.Connection, row: int) -> tuple[str, State]:
    published = connection.execute("SELECT event_id, published_seq FROM journal WHERE n = ?", (row,)).fetchone()
    if published is not None and published[1] is not None:
        return f"published as {published[0]} at sequence {published[1]}", "settled"
    refused = connection.execute("SELECT reason, verdict FROM refused WHERE n = ?", (row,)).fetchone()
    if refused is None:
        return "not published yet", "pending"
    reason, verdict = refused
    return ("", "pending") if verdict else (f"refused again: {reason}", "open")
