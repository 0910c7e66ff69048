"""R20. A stranger's message stops no healthy worker, and a rebuild ignores it."""

from functools import partial
from typing import Any

import anyio
import pytest

from shared.ports.rows import StrangerRow
from shared.ports.store import DatabaseError
from shared.repair.reconcile import compare
from shared.repair.strangers import declare_stranger, find_in_journal
from tests.integration.databases import forge, lose, make_anew, state
from tests.integration.engine import Counter, leaves, running, stored_again
from tests.waiting import WITHIN_S


@pytest.fixture
def counter(forgetful_counter: Counter) -> Counter:
    """The counter of these tests; its server soon forgets ids."""
    return forgetful_counter


def strangers(counter: Counter) -> list[tuple[Any, ...]]:
    return counter.rows("SELECT message_id, subject LIKE '%Whatever%', reason, who FROM strangers")


class TestStrangers:
    """A message without the form of an event of the till stops no till, and a rebuild ignores it."""

    async def test_stranger_stops_no_healthy_worker_and_is_reported_once(
        self, counter: Counter, capfd: pytest.CaptureFixture[str]
    ) -> None:
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung")
        await counter.publish("evt.till.Whatever.zz", b"{}", "till/till-zz@1")
        capfd.readouterr()
        for total in (2, 3):
            async with running(counter):
                await counter.ring("t-1", 1)
                await counter.watcher.until("t-1", "Rung", times=total)
            said = capfd.readouterr().out
            assert said.count("a stranger's message is set aside") == (1 if total == 2 else 0)
            assert strangers(counter)[0][:2] == ("till/till-zz@1", 1)
        known = state(counter)
        for force in (True, False):
            if not force:
                (counter.directory / "till.db").unlink()
            assert (await make_anew(counter, force=force)).strangers == 1
            assert state(counter) == known
            assert strangers(counter)[0][:2] == ("till/till-zz@1", 1)
        await counter.lose_events()
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung", times=4)
        assert strangers(counter) == []

    @pytest.mark.parametrize("stranger", ["first", "last"])
    async def test_of_two_under_one_id_the_one_that_can_be_ours_is_ours(self, counter: Counter, stranger: str) -> None:
        async with running(counter):
            await counter.ring("t-2", 1)
            await counter.watcher.until("t-2", "Rung")
            if stranger == "first":
                await counter.publish("evt.till.Rung.t-1", b'{"till_id": "t-1"}', "till/till-t-1@1")
                await self.duplicate_window_passes(counter)
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung", times=2 if stranger == "first" else 1)
        if stranger == "last":
            await stored_again(partial(counter.publish, "evt.till.Rung.t-1", b"{}", "till/till-t-1@1"))
        known = state(counter)
        await lose(counter, None)
        await make_anew(counter)
        assert state(counter) == known
        async with running(counter):
            await counter.ring("t-1", 6)
            await counter.watcher.until("t-1", "Rung", times=3)  # With the stranger's.
        assert counter.rows("SELECT state FROM aggregates WHERE id = 'till-t-1'") == [('{"total":11,"state":"OPEN"}',)]

    @staticmethod
    async def duplicate_window_passes(counter: Counter) -> None:
        """Wait until the duplicate window of every published id has passed."""
        scan = partial(counter.scan, "t-2", 1, "scanner/scan-t-2@1")
        await scan()
        await stored_again(scan)

    async def test_stranger_on_record_by_its_form_does_not_hide_a_lost_event_under_its_id(
        self, counter: Counter
    ) -> None:
        """Neither among new messages nor when the whole stream is compared."""
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung")
        await counter.publish("evt.till.Whatever.zz", b"{}", "till/till-t-9@1")
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung", times=2)
        assert strangers(counter)[0][:2] == ("till/till-t-9@1", 1)
        assert (await compare(counter.broker, counter.databases, "till")).is_none
        await self.duplicate_window_passes(counter)
        await forge(counter, "till/till-t-9@1", key="t-9")
        assert (await compare(counter.broker, counter.databases, "till")).unexplained == ("till/till-t-9@1",)
        await self.is_refused(counter)
        counter.change("UPDATE meta SET value = 'another' WHERE key = 'created EVENTS'")
        await self.is_refused(counter)
        counter.change("UPDATE strangers SET who = 'ann', why = 'a test of theirs'")
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung", times=3)
        assert strangers(counter)[0][3] == "ann"

    @staticmethod
    async def is_refused(counter: Counter) -> str:
        """Start a worker, which stops; its message."""
        with pytest.raises(BaseExceptionGroup) as refused, anyio.fail_after(WITHIN_S):
            async with running(counter):
                await anyio.sleep_forever()
        (error,) = [error for error in leaves(refused.value) if isinstance(error, DatabaseError)]
        return str(error)

    async def test_event_of_our_form_is_refused_with_both_ways_out_until_one_is_taken(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung")
        await forge(counter, "till/till-t-9@1", key="t-9")
        said = await self.is_refused(counter)
        assert "chorus rebuild till --force" in said
        assert "chorus parked void till/till-t-9@1 --why" in said
        counter.change("INSERT INTO strangers VALUES ('till/till-t-9@1', 0, '', '', '', 'ann', 'a test of theirs')")
        async with running(counter):
            await counter.ring("t-1", 2)
            await counter.watcher.until("t-1", "Rung", times=2)
        known = state(counter)
        assert (await make_anew(counter, force=True)).strangers == 1
        assert state(counter) == known
        assert strangers(counter) == [("till/till-t-9@1", 0, "", "ann")]

    @pytest.mark.parametrize(
        ("kind", "version", "told"), [("Whatever", 1, "this release does not know"), ("Rung", 2, "follows version 0")]
    )
    async def test_event_of_our_form_that_stops_a_rebuild_is_named_and_can_be_declared_void(
        self, counter: Counter, kind: str, version: int, told: str
    ) -> None:
        """The database is lost, so only the stream can show that the message is a stranger's."""
        async with running(counter):
            await counter.ring("t-1", 1)
            await counter.watcher.until("t-1", "Rung")
        forged = f"till/till-t-9@{version}"
        await forge(counter, forged, key="t-9", kind=kind)
        known = state(counter)
        (counter.directory / "till.db").unlink()
        with pytest.raises(DatabaseError, match=told) as refused:
            await make_anew(counter)
        way_out = f"chorus parked void {forged} --why '…' and then chorus rebuild till --force"
        assert way_out in refused.value.__notes__[0]
        assert find_in_journal(counter.databases, "till", forged) is None
        void = StrangerRow(forged, 0, "", "", "", "ann", "a test of theirs")
        await declare_stranger(counter.databases, "till", void)
        assert (await make_anew(counter, force=True)).strangers == 1
        assert state(counter) == known
