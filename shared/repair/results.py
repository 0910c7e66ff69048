"""Reads what came of an operator's verdicts, until the workers have acted on all of them."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from shared.ports.clock import Clock
from shared.ports.databases import Databases
from shared.ports.store_reader import StoreReader
from shared.repair.unresolved import Parked, Refused, Undelivered, Unresolved

POLL_S: Final = 0.1

State: TypeAlias = Literal["pending", "open", "resolved"]
"""`pending`: no worker has acted yet. `open`: it waits for an operator again. `resolved`: it waits no more."""

Outcome: TypeAlias = tuple[str, State]
"""The outcome of a verdict in words, and its state."""


class VerdictResult(Struct, frozen=True, kw_only=True):
    """The result of one verdict; `outcome` says it in words."""

    number: str
    key: str
    message_id: str
    outcome: str
    is_resolved: bool = False
    is_pending: bool = False


async def wait_for_results(
    databases: Databases, chosen: Sequence[Unresolved], clock: Clock, *, timeout_s: float
) -> list[VerdictResult]:
    """Wait until the workers have acted on every verdict, at most `timeout_s`, and return what came of each."""
    until = clock.monotonic() + timeout_s
    while True:
        results = _results(databases, chosen)
        if not any(result.is_pending for result in results) or clock.monotonic() >= until:
            return results
        await clock.sleep(POLL_S)


def _results(databases: Databases, chosen: Sequence[Unresolved]) -> list[VerdictResult]:
    """The results by now, in the order of `chosen`."""
    outcomes: dict[str, Outcome] = {}
    for place in dict.fromkeys(one.context for one in chosen if isinstance(one, Undelivered)):
        outcomes |= _of_undelivered(databases, place, [one for one in chosen if isinstance(one, Undelivered)])
    for context in dict.fromkeys(one.context for one in chosen if not isinstance(one, Undelivered)):
        with databases.reading(context) as reader:
            outcomes |= _of_parked(reader, [o for o in chosen if isinstance(o, Parked) and o.context == context])
            outcomes |= _of_refused(reader, [o for o in chosen if isinstance(o, Refused) and o.context == context])
    return [_result(one, *outcomes[one.number]) for one in chosen]


def _result(one: Unresolved, outcome: str, state: State) -> VerdictResult:
    if state == "pending" and not outcome:
        outcome = f"no worker of {one.context} has acted on it; see chorus health {one.context}"
    return VerdictResult(
        number=one.number,
        key=one.key,
        message_id=one.message_id,
        outcome=outcome,
        is_resolved=state == "resolved",
        is_pending=state == "pending",
    )


def _of_parked(reader: StoreReader, messages: Sequence[Parked]) -> dict[str, Outcome]:
    """The outcomes by number. The number of a deleted row may be that of another message by now."""
    still = {(kept.number, kept.row.message_id): kept for kept in reader.parked(one.row for one in messages)}
    skipped = reader.skipped(one.message_id for one in messages)

    def outcome(one: Parked) -> Outcome:
        kept = still.get((one.row, one.message_id))
        if kept is None:
            return ("skipped" if one.message_id in skipped else "decided"), "resolved"
        if kept.verdict:
            return "", "pending"
        if not kept.row.reason:
            return "still waits behind the one before", "open"
        return f"parked again: {kept.row.reason.strip().splitlines()[-1]}", "open"

    return {one.number: outcome(one) for one in messages}


def _of_refused(reader: StoreReader, rows: Sequence[Refused]) -> dict[str, Outcome]:
    """The outcomes by number. A voided row has the next edition of its id."""
    publications = reader.publications_of_rows(one.row for one in rows)
    still = {kept.refusal.n: kept for kept in reader.refused(one.row for one in rows)}

    def outcome(one: Refused) -> Outcome:
        publication, kept = publications.get(one.row), still.get(one.row)
        if publication is not None and publication.sequence is not None:
            return f"published as {publication.event_id} at sequence {publication.sequence}", "resolved"
        if kept is None:
            return "not published yet", "pending"
        return ("", "pending") if kept.verdict else (f"refused again: {kept.refusal.reason}", "open")

    return {one.number: outcome(one) for one in rows}


def _of_undelivered(databases: Databases, place: str, events: Sequence[Undelivered]) -> dict[str, Outcome]:
    """The outcomes by number of the events of one group."""
    mine = [one for one in events if one.context == place]
    still = {kept.row.n: kept for kept in databases.forwards(place, [one.message_id for one in mine])}

    def outcome(one: Undelivered) -> Outcome:
        kept = still.get(one.row)
        if kept is None:
            return "delivered or skipped", "resolved"
        return ("", "pending") if kept.verdict else (f"parked again: {kept.reason}", "open")

    return {one.number: outcome(one) for one in mine}
