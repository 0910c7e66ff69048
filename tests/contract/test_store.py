"""The engine and the tools expect this of a database: one suite for every adapter, written against the ports alone."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.ports.databases import Databases
from shared.ports.rows import JournalRow, Move, ParkedRow, Position, Proof, RefusedRow, SkippedRow, StrangerRow
from shared.ports.store import DatabaseError, FencedError, Store, Transaction
from shared.ports.store_reader import Backlog, KeptMessage, KeptRow, Publication
from shared.wire.messages import CORRELATION_ID, MSG_ID, OCCURRED_AT, TIMER_ID

HEADERS = {MSG_ID: "m-1", "Title": 'Łódź "9"'}
NOON = "2026-11-21T12:00:00.000000Z"


@pytest.fixture
def databases(tmp_path: Path) -> Databases:
    return SqliteDatabases(tmp_path)


@pytest_asyncio.fixture
async def store(databases: Databases) -> AsyncIterator[Store]:
    opened = await databases.open("till")
    yield opened
    await opened.close()


def journal_row(n: int, **headers: str) -> JournalRow:
    subject = f"evt.till.Rung.t-{n}"
    return JournalRow(f"till/till-t-{n}@1", f"till-t-{n}", 1, subject, "Rung", headers or HEADERS, b'{"n":1}', 0)


def parked_row(key: str, message_id: str, reason: str = "") -> ParkedRow:
    subject = f"cmd.till.Ring.0.{key}"
    return ParkedRow(key, 0, "COMMANDS", 7, 1, message_id, subject, HEADERS, b"\xff", reason)


async def test_positions_advance_together_or_not_at_all(store: Store) -> None:
    first = [Move("EVENTS", partition, 0, 5 + partition, f"m-{partition}") for partition in range(3)]
    await store.transact(lambda transaction: transaction.advance_positions(first))
    stale = [Move("EVENTS", 0, 5, 9, "m-9"), Move("EVENTS", 1, 5, 9, "m-9")]
    with pytest.raises(FencedError, match="EVENTS/1 is no longer at 5"):
        await store.transact(lambda transaction: transaction.advance_positions(stale))
    assert await store.read(lambda transaction: transaction.positions()) == {
        ("EVENTS", partition): Position(5 + partition, f"m-{partition}") for partition in range(3)
    }


async def test_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        transaction.add_to_inbox([("m-1", b"hash")])
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await store.transact(work)
    assert await store.read(lambda transaction: transaction.inbox_hashes(["m-1"])) == {}


async def test_newest_effects_with_an_outcome_are_told_with_their_sagas(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        rows = transaction.append([journal_row(n, **{CORRELATION_ID: f"t-{n}"}) for n in range(1, 5)])
        transaction.add_effects([(row.n, row.row.event_id, row.row.key, 0) for row in rows])
        transaction.close_effects([row.row.event_id for row in rows[:3]])

    await store.transact(work)
    closed = await store.read(lambda transaction: transaction.closed_effects(["Rung"], limit=2))
    assert closed == [("till/till-t-3@1", "t-3"), ("till/till-t-2@1", "t-2")]
    assert await store.read(lambda transaction: transaction.closed_effects(["Other"], limit=2)) == []


async def test_effect_of_a_voided_id_is_told_by_the_key_under_which_it_was_called(store: Store) -> None:
    """The next edition of an event renames its row; the effect was called before, or is still open."""

    def work(transaction: Transaction) -> None:
        rows = transaction.append([journal_row(n, **{CORRELATION_ID: f"t-{n}"}) for n in (1, 2)])
        numbers = [row.n for row in rows]
        transaction.add_effects([(row.n, row.row.event_id, row.row.key, 0) for row in rows])
        transaction.refused.record([RefusedRow(n, f"t-{n}", 0, "taken", 7, NOON) for n in numbers])
        transaction.refused.give_verdict(numbers, "void", who="ann", why="not ours")
        transaction.refused.give_next_editions(numbers)
        transaction.close_effects(["till/till-t-1@1"])

    await store.transact(work)
    closed = await store.read(lambda transaction: transaction.closed_effects(["Rung"], limit=9))
    assert closed == [("till/till-t-1@1", "t-1")]


async def test_headers_of_rows_come_back_as_they_were(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        numbered = transaction.append([journal_row(1)])
        transaction.add_effects([(numbered[0].n, "till/till-t-1@1", "t-1", 0)])
        transaction.parked.park([parked_row("t-1", "m-1", "RuntimeError")])
        transaction.parked.give_verdict([1], "skip", who="ann", why="a duplicate")

    await store.transact(work)
    unpublished = await store.read(lambda transaction: transaction.unpublished([0]))
    effects = await store.read(lambda transaction: transaction.open_effects([0], limit=9))
    events = await store.read(lambda transaction: list(transaction.events()))
    ruled = await store.read(lambda transaction: transaction.parked.with_verdict([0], limit=9))
    assert [row.headers for _, row in unpublished] == [effect.headers for effect in effects] == [HEADERS]
    assert [row.headers for row in events] == [HEADERS]
    assert [(one.row, one.skip, one.who) for one in ruled] == [(parked_row("t-1", "m-1", "RuntimeError"), True, "ann")]


async def test_messages_that_fail_again_have_the_new_reasons_and_no_verdicts(store: Store) -> None:
    rows = [parked_row("t-1", "m-1", "old"), parked_row("t-1", "m-2"), parked_row("t-2", "m-3", "old")]

    def work(transaction: Transaction) -> None:
        transaction.parked.park(rows)
        transaction.parked.give_verdict([1, 2, 3], "retry", who="ann", why="")
        transaction.parked.park_again({1: ("t-1", "new"), 3: ("t-2", 'newer "than" \x00 new')})

    await store.transact(work)
    assert await store.read(lambda transaction: transaction.parked.with_verdict([0], limit=9)) == []
    assert await store.read(lambda transaction: transaction.parked.counts()) == {"t-1": 2, "t-2": 1}
    await store.transact(lambda transaction: transaction.parked.give_verdict([1, 3], "retry", who="ann", why=""))
    ruled = await store.read(lambda transaction: transaction.parked.with_verdict([0], limit=9))
    assert [one.row.reason for one in ruled] == ["new", "", 'newer "than" \x00 new']


async def test_last_versions_are_those_of_the_aggregates_that_have_events(store: Store) -> None:
    rows = [journal_row(1), journal_row(2), journal_row(1)._replace(event_id="till/till-t-1@2", version=2)]
    await store.transact(lambda transaction: transaction.append(rows))
    wanted = ["till-t-2", "till-t-1", "till-t-3"]
    assert await store.read(lambda transaction: transaction.last_versions(wanted)) == {"till-t-2": 1, "till-t-1": 2}


async def test_skipped_message_leaves_the_later_ones_of_its_key_to_be_retried(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        transaction.parked.park([parked_row("t-1", "m-1", "RuntimeError"), parked_row("t-1", "m-2")])
        transaction.parked.give_verdict([1], "skip", who="ann", why="a duplicate")
        transaction.parked.unpark([1], at=NOON)
        transaction.parked.record_skipped([SkippedRow("t-9", "m-9", "evt.x", "old", "ann", "rebuilt", NOON)])

    await store.transact(work)
    (later,) = await store.read(lambda transaction: transaction.parked.with_verdict([0], limit=9))
    assert (later.row.message_id, later.skip) == ("m-2", False)
    assert await store.read(lambda transaction: transaction.parked.still_parked([1, 2])) == {2}


async def test_void_rows_get_their_next_editions_and_others_stay(store: Store) -> None:
    def work(transaction: Transaction) -> None:
        rows = [journal_row(n, **{MSG_ID: f"till/till-t-{n}@1", TIMER_ID: f"till/till-t-{n}@1"}) for n in (1, 2, 3)]
        numbers = [n for n, _ in transaction.append(rows)]
        transaction.refused.record([RefusedRow(n, f"t-{n}", 0, "taken", 7, NOON) for n in numbers])
        transaction.refused.give_verdict(numbers[:2], "void", who="ann", why="not ours")
        transaction.refused.give_verdict(numbers[2:], "retry", who="ann", why="")

    await store.transact(work)
    renamed = await store.transact(lambda transaction: transaction.refused.give_next_editions([1, 2, 3]))
    assert [(n, row.event_id, row.headers[MSG_ID], row.headers[TIMER_ID]) for n, row in renamed] == [
        (n, *[f"till/till-t-{n}@1.2"] * 3) for n in (1, 2)
    ]
    unpublished = await store.read(lambda transaction: transaction.unpublished([0]))
    assert unpublished[:2] == renamed
    assert await store.read(lambda transaction: transaction.refused.verdicts([0])) == [(3, "retry")]


async def test_refusal_is_recorded_for_unpublished_rows_only_and_ends_when_they_are_published(store: Store) -> None:
    refusals = [RefusedRow(n, f"t-{n}", 0, "taken", 7, NOON) for n in (1, 2)]

    def work(transaction: Transaction) -> None:
        transaction.append([journal_row(1), journal_row(2)])
        transaction.mark_published([(1, 40)])
        transaction.refused.record(refusals)

    await store.transact(work)
    rule = [1, 2]
    ruled = await store.transact(
        lambda transaction: transaction.refused.give_verdict(rule, "retry", who="ann", why="mended")
    )
    assert ruled == 1
    await store.transact(lambda transaction: transaction.mark_published([(2, 41)]))
    assert await store.read(lambda transaction: transaction.refused.verdicts([0])) == []


async def test_reader_answers_while_a_transaction_is_open(store: Store, databases: Databases) -> None:
    def work(transaction: Transaction) -> list[KeptMessage]:
        transaction.parked.park([parked_row("t-1", "m-1", "RuntimeError")])
        with databases.reading("till") as reader:
            return reader.parked()

    assert await store.transact(work) == []
    with databases.reading("till") as reader:
        assert reader.parked() == [KeptMessage(1, parked_row("t-1", "m-1", "RuntimeError"), "")]


async def test_reader_finds_parked_and_skipped_messages(store: Store, databases: Databases) -> None:
    rows = [parked_row("t-1", "m-1", "RuntimeError"), parked_row("t-2", "m-2", "KeyError"), parked_row("t-2", "m-3")]

    def work(transaction: Transaction) -> None:
        transaction.parked.park(rows)
        transaction.parked.give_verdict([1], "skip", who="ann", why="a duplicate")
        transaction.parked.unpark([1], at=NOON)
        transaction.parked.give_verdict([3], "retry", who="ann", why="")

    await store.transact(work)
    with databases.reading("till") as reader:
        assert reader.parked() == [KeptMessage(2, rows[1], ""), KeptMessage(3, rows[2], "retry")]
        assert reader.parked([3, 1]) == [KeptMessage(3, rows[2], "retry")]
        assert reader.skipped(["m-1", "m-2"]) == {"m-1"}


async def test_reader_finds_refused_rows_with_those_that_wait_behind(store: Store, databases: Databases) -> None:
    first, other, later = rows = [
        journal_row(1),
        journal_row(2),
        journal_row(1)._replace(event_id="till/till-t-1@2", version=2),
    ]
    refusals = [RefusedRow(n, f"t-{n}", 0, "taken", 7, NOON) for n in (1, 2)]

    def work(transaction: Transaction) -> None:
        transaction.append(rows)
        transaction.refused.record(refusals)
        transaction.refused.give_verdict([2], "void", who="ann", why="not ours")

    await store.transact(work)
    with databases.reading("till") as reader:
        assert reader.refused() == [KeptRow(refusals[0], first, "", 1), KeptRow(refusals[1], other, "void", 0)]
        assert reader.refused([2, 3]) == [KeptRow(refusals[1], other, "void", 0)]
    await store.transact(lambda transaction: transaction.mark_published([(1, 40)]))
    with databases.reading("till") as reader:
        assert [kept.refusal for kept in reader.refused()] == refusals[1:]
        published = reader.publications_of_rows([1, 3, 9])
        assert published == {1: Publication(1, first.event_id, 40), 3: Publication(3, later.event_id, None)}
        assert reader.publications_of_events([later.event_id, "till/till-t-9@1"]) == {later.event_id: published[3]}


async def test_reader_compares_the_journal_with_the_stream(store: Store, databases: Databases) -> None:
    await store.transact(lambda transaction: transaction.append([journal_row(1), journal_row(2)]))
    with databases.reading("till") as reader:
        assert reader.bodies(["till/till-t-1@1", "till/till-t-9@1"]) == {"till/till-t-1@1": b'{"n":1}'}
        proof = Proof(journal_row(1).subject, b'{"n":1}')
        assert reader.proofs(["till/till-t-1@1", "till/till-t-9@1"]) == {"till/till-t-1@1": proof}
        assert reader.missing("evt.", ["till/till-t-1@1"], timers=False) == ["till/till-t-2@1"]
        assert reader.last_versions(["till-t-2", "till-t-9"]) == {"till-t-2": 1}
        assert list(reader.events_of("till-t-2", up_to=1)) == [journal_row(2)]
    assert await store.read(lambda transaction: transaction.unpublished([0])) != []


async def test_waiting_counts_messages_keys_and_rows(store: Store, databases: Databases) -> None:
    assert databases.backlog("till") == databases.backlog("nobody") == Backlog()
    rows = [journal_row(1, **{OCCURRED_AT: NOON}), journal_row(2)]

    def work(transaction: Transaction) -> None:
        transaction.append(rows)
        transaction.parked.park([parked_row("t-3", "m-1", "a bug"), parked_row("t-3", "m-2"), parked_row("t-1", "m-3")])
        transaction.refused.record([RefusedRow(2, "t-2", 0, "taken", 7, NOON)])

    await store.transact(work)
    assert databases.backlog("till") == Backlog(
        parked=3,
        parked_keys=("t-3", "t-1"),
        refused_keys=("t-2",),
        unpublished=2,
        unpublished_since=datetime.fromisoformat(NOON),
    )


@pytest.mark.usefixtures("store")
async def test_missing_database_is_told_apart_and_not_made_by_reading(databases: Databases) -> None:
    assert (databases.exists("till"), databases.is_lost("till")) == (True, False)
    assert (databases.exists("bar"), databases.is_lost("bar")) == (False, True)
    with pytest.raises(DatabaseError, match="no such database"), databases.reading("bar"):
        pass
    assert not databases.exists("bar")


async def test_replacement_keeps_what_an_operator_declared_and_sets_the_old_database_aside(
    databases: Databases,
) -> None:
    declared = StrangerRow("till/till-t-9@1", 7, "evt.x", "forged", NOON, "ann", "a test")
    old = await databases.open("till")
    await old.transact(lambda transaction: transaction.refused.record_strangers([declared]))
    await old.close()
    with databases.replacing("till") as replacement:
        assert replacement.declared_strangers() == [declared]
        new = await replacement.open_new()
        await new.transact(lambda transaction: transaction.append([journal_row(1)]))
        await new.close()
        assert replacement.put_in_place() is not None
    with databases.reading("till") as reader:
        assert list(reader.events_of("till-t-1", up_to=1)) == [journal_row(1)]
