"""Snapshots can be dropped, altered or outdated: a worker folds the journal again before it decides anything."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Struct, structs
from structlog.testing import capture_logs

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.context import Context
from shared.engine.process import ContextProcess
from shared.engine.recover.snapshots import AGGREGATES_AT_ONCE, ensure_snapshots
from shared.ports.rows import JournalRow
from shared.ports.store import DatabaseError, Store
from shared.repair.rebuild import rebuild
from tests.integration.engine import BRIEFLY_MS, PARTITIONS, Counter, running, standing
from tests.integration.till import Event, Rung, Till, evolve, till
from tests.waiting import WITHIN_S

KEYS = ("t-1", "t-2")
SNAPSHOTS = "SELECT id, version, state FROM aggregates ORDER BY id"


@pytest.fixture
async def counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """A counter where each till has rung 1, 2 and 3, and no worker runs."""
    async with standing(account_url, tmp_path) as counter:
        async with running(counter):
            for amount in (1, 2, 3):
                for key in KEYS:
                    await counter.ring(key, amount)
            for key in KEYS:
                await counter.watcher.until(key, "Rung", times=3)
        yield counter


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM aggregates",
        "DELETE FROM aggregates WHERE id = 'till-t-2'",
        "UPDATE aggregates SET version = 2, state = '{\"total\":3}' WHERE id = 'till-t-2'",
        "UPDATE aggregates SET id = 'till-t-3' WHERE id = 'till-t-2'",
    ],
)
async def test_snapshots_that_are_gone_are_folded_anew_and_the_versions_go_on(counter: Counter, harm: str) -> None:
    before = counter.rows(SNAPSHOTS)
    counter.change(harm)
    assert counter.rows(SNAPSHOTS) != before
    async with running(counter):
        assert counter.rows(SNAPSHOTS) == before
        for key in KEYS:
            await counter.ring(key, 4)
            await counter.watcher.until(key, "Rung", times=4)
    assert [counter.totals(key) for key in KEYS] == [[1, 3, 6, 10]] * 2
    assert counter.rows("SELECT version FROM aggregates") == [(4,), (4,)]


async def test_start_that_finds_all_snapshots_does_not_read_the_journal(counter: Counter) -> None:
    counter.change("UPDATE journal SET body = '?'")
    async with running(counter):
        await counter.ring("t-1", 4)
        await counter.watcher.until("t-1", "Rung", times=4)
    counter.change("DELETE FROM aggregates")
    with pytest.raises(DatabaseError, match="till/till-t-1@1 cannot be read"):
        async with running(counter):
            pass


class CountingTill(Struct, frozen=True, kw_only=True):
    """A till of the next release, which counts how often it rang."""

    total: int = 0
    state: str = "OPEN"
    rings: int = 0


def count(held: CountingTill, event: Event) -> CountingTill:
    return structs.replace(held, total=event.total, rings=held.rings + 1) if isinstance(event, Rung) else held


def evolve_twice(held: Till, event: Event) -> Till:
    """The fold of a release that sees the same events otherwise."""
    return structs.replace(evolve(held, event), total=event.total * 2) if isinstance(event, Rung) else held


def release(**changes: Any) -> Context:
    """The till with another fold or version."""
    version = changes.pop("schema_version", 1)
    (decider,) = till().deciders
    aggregate = replace(decider.aggregate, **changes)
    return replace(till(), deciders=(replace(decider, aggregate=aggregate),), schema_version=version)


@pytest.mark.parametrize(
    ("next_release", "state"),
    [
        (release(state=CountingTill, evolve=count), '{"total":6,"state":"OPEN","rings":3}'),
        (release(evolve=evolve_twice, schema_version=2), '{"total":12,"state":"OPEN"}'),
    ],
    ids=["fields", "schema_version"],
)
async def test_release_with_other_states_folds_the_journal_anew(
    counter: Counter, next_release: Context, state: str
) -> None:
    async with running(counter, next_release):
        assert counter.rows(SNAPSHOTS) == [(f"till-{key}", 3, state) for key in KEYS]
    async with running(counter):
        assert counter.rows(SNAPSHOTS) == [(f"till-{key}", 3, '{"total":6,"state":"OPEN"}') for key in KEYS]


async def test_rebuilt_database_has_the_same_snapshots_and_nothing_to_fold(counter: Counter, tmp_path: Path) -> None:
    await rebuild(till(), counter.broker, SqliteDatabases(tmp_path / "again"), partitions=PARTITIONS)
    store = await SqliteStore.open(tmp_path / "again" / "till.db", context="till")
    try:
        assert await ensure_snapshots(store, till()) is None
        found = await store.read(lambda transaction: transaction.snapshots([f"till-{key}" for key in KEYS]))
        assert sorted(found) == counter.rows(SNAPSHOTS)
    finally:
        await store.close()


async def filled(path: Path, *, tills: int) -> Store:
    """A database with this many tills, each of which rang twice, and without a snapshot."""
    rows = [
        JournalRow(
            f"till/till-t-{number}@{version}", f"till-t-{number}", version, f"evt.till.Rung.t-{number}", "Rung", {},
            b'{"till_id":"t-%d","amount":5,"total":%d}' % (number, 5 * version), 0,
        )
        for version in (1, 2)
        for number in range(tills)
    ]  # fmt: skip
    store = await SqliteStore.open(path, context="till")
    await store.transact(lambda transaction: transaction.append(rows))
    return store


def snapshots(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM aggregates WHERE version = 2").fetchone()[0])


async def test_of_two_processes_that_start_at_once_one_folds(tmp_path: Path) -> None:
    path, tills = tmp_path / "till.db", AGGREGATES_AT_ONCE * 2 + 1
    one, other = await filled(path, tills=tills), await SqliteStore.open(path, context="till")
    try:
        folded = await asyncio.gather(ensure_snapshots(one, till()), ensure_snapshots(other, till()))
        assert sorted(folded, key=str) == [tills, None]
        assert snapshots(path) == tills
    finally:
        await one.close()
        await other.close()


async def test_whoever_finds_all_snapshots_has_no_need_to_write(tmp_path: Path) -> None:
    store = await filled(tmp_path / "till.db", tills=1)
    try:
        assert await ensure_snapshots(store, till()) == 1
        with closing(sqlite3.connect(tmp_path / "till.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await ensure_snapshots(store, till()) is None
    finally:
        await store.close()


class KilledError(BaseException):
    """The process ends here."""


def evolve_until(events: int) -> Callable[[Till, Event], Till]:
    """A fold that ends the process at this event."""
    left = iter(range(events))

    def evolve_or_end(held: Till, event: Event) -> Till:
        if next(left, None) is None:
            raise KilledError
        return evolve(held, event)

    return evolve_or_end


async def test_what_is_interrupted_has_changed_nothing_and_is_done_by_the_next(tmp_path: Path) -> None:
    path, tills = tmp_path / "till.db", AGGREGATES_AT_ONCE + 1
    store = await filled(path, tills=tills)
    try:
        with pytest.raises(KilledError):
            await ensure_snapshots(store, release(evolve=evolve_until(2 * AGGREGATES_AT_ONCE + 1)))
        assert snapshots(path) == 0
        assert await ensure_snapshots(store, till()) == tills
        assert snapshots(path) == tills
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DELETE FROM journal WHERE version = 1", "till/till-t-0@2 follows version 0: an event"),
        ("UPDATE journal SET type = 'Rang'", "till/till-t-0@1 is Rang, which this release does not know"),
    ],
)
async def test_journal_that_this_release_cannot_fold_is_refused(tmp_path: Path, harm: str, told: str) -> None:
    store = await filled(tmp_path / "till.db", tills=1)
    try:
        with closing(sqlite3.connect(tmp_path / "till.db", isolation_level=None)) as database:
            database.execute(harm)
        with pytest.raises(DatabaseError, match=told):
            await ensure_snapshots(store, till())
    finally:
        await store.close()


async def test_event_that_the_fold_cannot_take_is_named(tmp_path: Path) -> None:
    def evolve_or_fail(_held: Till, _event: Event) -> Till:
        raise AssertionError("CLOSED")

    told = "till/till-t-0@1: Rung cannot follow what came before it: AssertionError: CLOSED"
    store = await filled(tmp_path / "till.db", tills=1)
    try:
        with pytest.raises(DatabaseError, match=told):
            await ensure_snapshots(store, release(evolve=evolve_or_fail))
    finally:
        await store.close()


async def test_worker_waits_for_a_locked_database_and_folds_before_it_decides(counter: Counter) -> None:
    counter.change("DELETE FROM aggregates")
    await counter.ring("t-1", 4)
    with closing(sqlite3.connect(counter.directory / "till.db", isolation_level=None)) as other, capture_logs() as logs:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work_until_it_rang, counter)
            await logged(logs, "alarm raised")
            other.execute("ROLLBACK")
    assert counter.totals("t-1") == [1, 3, 6, 10]


async def test_worker_that_folds_for_long_does_not_count_as_hung(counter: Counter) -> None:
    """A supervisor would start it again, and again it would not finish."""
    counter.change("DELETE FROM aggregates")
    stalled_s: list[float] = []

    def fold(state: Till, event: Event) -> Till:
        stalled_s.append(process.loop.stall.seconds)
        return evolve(state, event)

    process = ContextProcess(
        release(evolve=fold),
        await SqliteStore.open(counter.directory / "till.db", context="till"),
        counter.broker,
        SystemClock(),
        numbers=range(PARTITIONS),
        partitions=PARTITIONS,
        priority_timeout_s=1.0,
        batch_at_most=1,
    )
    async with process.at_work():
        pass
    assert stalled_s == [0.0] * 3 * len(KEYS)


async def logged(logs: Sequence[MutableMapping[str, Any]], event: str) -> None:
    """Wait until it has been logged."""
    with anyio.fail_after(WITHIN_S):
        while True:
            if any(line["event"] == event for line in logs):
                return
            await anyio.sleep(0.05)


async def work_until_it_rang(counter: Counter) -> None:
    async with running(counter, busy_timeout_ms=BRIEFLY_MS):
        await counter.watcher.until("t-1", "Rung", times=4)
