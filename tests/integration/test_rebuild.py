"""R19. A rebuild parks parked messages again, and replaces a database whole or not at all."""

import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.cli.errors import report
from shared.config.exit_codes import Exit
from shared.engine.decide.outgoing import unparked_aggregate
from shared.ports.broker import Broker, BrokerUnavailableError, Outgoing, Stored
from shared.ports.store import DatabaseError
from shared.repair import parked, unresolved
from shared.repair.rebuild import rebuild
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS
from tests.integration.databases import PARKED, SKIPPED, forge, lose, make_anew, state
from tests.integration.engine import PARTITIONS, Counter, running, stored_again
from tests.integration.till import stuck_till, till
from tests.waiting import until


@pytest.fixture
def counter(forgetful_counter: Counter) -> Counter:
    """The counter of these tests; its server soon forgets ids."""
    return forgetful_counter


def waiting(counter: Counter) -> list[unresolved.Parked]:
    return parked.parked_in(counter.databases, ["till"])


class TestParked:
    """Each parked message is parked again in the same order; decided and skipped ones stay so."""

    @pytest.mark.parametrize("of", ["a lost database", "an older copy"])
    async def test_parked_messages_survive_a_rebuild_and_are_decided_in_order(
        self, counter: Counter, tmp_path: Path, of: str
    ) -> None:
        stuck, older = tmp_path / "stuck", tmp_path / "older"
        async with running(counter):
            await counter.ring("t-1", 5, "m-5")
            await counter.watcher.until("t-1", "Rung")
        shutil.copy(tmp_path / "till.db", older)
        stuck.write_text("13 17")
        async with running(counter, stuck_till(stuck)):
            for amount in (13, 6):
                await counter.ring("t-1", amount, f"m-{amount}")
            for amount, message_id in ((13, "scanner/scan-t-2@1"), (1, "scanner/scan-t-2@2")):
                await counter.scan("t-2", amount, message_id)
            for amount in (17, 2):
                await counter.ring("t-3", amount, f"m-{amount}")
            await counter.ring("t-4", 1)
            await counter.watcher.until("t-4", "Rung")
            await until(lambda: len(waiting(counter)) == 6)
            (first, _) = unresolved.choose(waiting(counter), "t-3")
            await parked.skip(SqliteDatabases(tmp_path), first, who="ann", why="no such coin")
            await counter.watcher.until("t-3", "Rung")
            stuck.write_text("13")
            await parked.retry(SqliteDatabases(tmp_path), unresolved.choose(waiting(counter), "t-2"), who="bob")
            await until(lambda: not any(message.verdict for message in waiting(counter)))
            await counter.published()
        known = state(counter)
        assert [row[5] for row in known["parked"]] == ["m-13", "m-6", "scanner/scan-t-2@1", "scanner/scan-t-2@2"]
        assert [row[1] for row in known["skipped"]] == ["m-17"]
        await lose(counter, None if of == "a lost database" else older)
        rebuilt = await make_anew(counter, force=of == "an older copy")
        assert (rebuilt.parked, rebuilt.strangers) == (4, 0)
        assert state(counter) == known
        stuck.unlink()
        await parked.retry(SqliteDatabases(tmp_path), waiting(counter), who="bob")
        async with running(counter, stuck_till(stuck)):
            await counter.watcher.until("t-1", "Rung", times=3)
            await counter.watcher.until("t-2", "Rung", times=2)
            await counter.ring("t-1", 13, "m-13")
            await counter.ring("t-3", 17, "m-17")
            await counter.ring("t-1", 7)
            await counter.ring("t-3", 3)
            await counter.watcher.until("t-1", "Rung", times=4)
            await counter.watcher.until("t-3", "Rung", times=2)
        assert [counter.totals(key) for key in ("t-1", "t-2", "t-3")] == [[5, 18, 24, 31], [13, 14], [2, 5]]
        assert waiting(counter) == []

    async def test_what_waited_behind_a_message_that_was_decided_is_tried_after_a_rebuild(
        self, counter: Counter
    ) -> None:
        """The database was lost when only the first of two events was published that end the parking."""
        async with running(counter):
            await counter.ring("t-1", 13, "m-13")
            await counter.ring("t-1", 6, "m-6")
            await until(lambda: len(waiting(counter)) == 2)
            await counter.published()
        (parking, _) = [stored async for stored in counter.broker.read(EVENTS, "evt.till.MessageParked.>")]
        headers = {name: value for name, value in parking.headers.items() if not name.startswith("Nats-")}
        await counter.broker.publish(
            Outgoing(
                "evt.till.MessageUnparked.t-1",
                headers | {MSG_ID: f"till/{unparked_aggregate('m-13')}@1"},
                b'{"message_id": "m-13", "outcome": "decided"}',
            )
        )
        await lose(counter, None)
        assert (await make_anew(counter)).parked == 1
        async with running(counter):
            await counter.watcher.until("t-1", "Rung")
        assert (waiting(counter), counter.totals("t-1")) == ([], [6])

    async def test_message_that_fails_again_for_another_reason_is_rebuilt_with_that_one(
        self, counter: Counter, tmp_path: Path
    ) -> None:
        stuck = tmp_path / "stuck"
        stuck.write_text("13 17")
        async with running(counter, stuck_till(stuck)):
            for amount in (13, 17, 6):
                await counter.ring("t-1", amount, f"m-{amount}")
            await until(lambda: len(waiting(counter)) == 3)
            stuck.write_text("17")
            await parked.retry(SqliteDatabases(tmp_path), waiting(counter), who="ann")
            await until(lambda: [bool(message.reason) for message in waiting(counter)] == [True, False])
            assert waiting(counter)[0].cause == "RuntimeError: the drawer is stuck at 17"
            await counter.published()
        known = state(counter)
        await lose(counter, None)
        await make_anew(counter)
        assert state(counter) == known

    async def test_two_messages_can_be_skipped_one_after_the_other(self, counter: Counter, tmp_path: Path) -> None:
        """The second message used to get the number of the deleted first one, which stopped the worker."""
        async with running(counter):
            for key in ("t-1", "t-2"):
                await counter.ring(key, 13, f"m-{key}")
                await until(lambda: waiting(counter) != [])
                await parked.skip(SqliteDatabases(tmp_path), waiting(counter)[0], who="ann", why=f"not {key}")
                await until(lambda: not waiting(counter))
            await counter.published()
        known = counter.rows(SKIPPED)
        assert [(row[1], row[5]) for row in known] == [("m-t-1", "not t-1"), ("m-t-2", "not t-2")]
        await lose(counter, None)
        await make_anew(counter)
        assert counter.rows(SKIPPED) == known

    @pytest.mark.parametrize(
        "body", [b"\xff\xfe\x00", b'{"till_id": "t-1", "amount": 1}' + b" " * 900_000], ids=["no UTF-8", "too large"]
    )
    async def test_poison_of_any_content_and_size_is_parked_again(self, counter: Counter, body: bytes) -> None:
        headers = {f"X-{number}": "x" * 2_000 for number in range(25)}
        async with running(counter):
            await counter.scan_body("t-1", body, "scanner/scan-t-1@1", **headers)
            await counter.scan("t-1", 2, "scanner/scan-t-1@2")
            await until(lambda: len(waiting(counter)) == 2)
            await counter.published()
        known = state(counter)
        await lose(counter, None)
        await make_anew(counter)
        assert state(counter) == known
        await parked.retry(counter.databases, waiting(counter), who="ann")
        async with running(counter):
            await until(lambda: not any(message.verdict for message in waiting(counter)))
        assert len(waiting(counter)) == 2

    async def test_messages_that_an_older_release_parked_without_an_event_are_parked_again(
        self, counter: Counter
    ) -> None:
        body = b'{"till_id": "t-2", "amount": 1}' + b" " * 900_000
        async with running(counter):
            for amount in (13, 6):
                await counter.ring("t-1", amount, f"m-{amount}")
            await counter.scan_body("t-2", body, "scanner/scan-t-2@1")
            await until(lambda: len(waiting(counter)) == 3)
            await counter.published()
        counter.change("DELETE FROM journal WHERE type = 'MessageParked'")
        counter.change("UPDATE parked SET body = ? WHERE message_id = 'scanner/scan-t-2@1'", body)  # It cut none.
        await counter.lose_events()
        for _ in range(2):
            async with running(counter):
                await counter.watcher.until("t-1", "MessageParked", times=2)
                await counter.watcher.until("t-2", "MessageParked")
        counter.change("UPDATE parked SET body = substr(body, 1, 65537)")
        known = state(counter)
        await lose(counter, None)
        await make_anew(counter)
        assert state(counter) == known
        assert counter.watcher.types("t-1")["MessageParked"] == 2

    async def test_other_content_under_the_id_of_a_parked_command_does_not_unpark_it(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 13, "m-13")
            await until(lambda: len(waiting(counter)) == 1)
            await stored_again(partial(counter.ring, "t-1", 14, "m-13"))
            await counter.watcher.until("t-1", "CommandRejected")
            await counter.published()
        known = counter.rows(PARKED)
        await lose(counter, None)
        await make_anew(counter)
        assert counter.rows(PARKED) == known


class Unreachable:
    """A broker whose reads fail from some message on."""

    def __init__(self, broker: Broker, after: int, look: Callable[[], None]) -> None:
        self._broker, self._after, self._look = broker, after, look

    async def stream_info(self, stream: str) -> Any:
        """Delegate to the broker."""
        return await self._broker.stream_info(stream)

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """Delegate to the broker until the failing message."""
        read = 0
        async for stored in self._broker.read(stream, subject, first=first, up_to=up_to):
            if (read := read + 1) > self._after:
                self._look()
                raise BrokerUnavailableError("the connection is lost")
            yield stored


class TestReplacing:
    """An existing database stays unchanged until the new one is complete."""

    async def test_broker_that_goes_away_meanwhile_leaves_the_old_one(
        self, counter: Counter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = await self.rung(counter)
        before, seen = path.read_bytes(), []
        away = cast(Broker, Unreachable(counter.broker, 1, lambda: seen.append(path.read_bytes())))
        with pytest.raises(BrokerUnavailableError) as lost:
            await rebuild(till(), away, counter.databases, partitions=PARTITIONS, force=True)
        assert seen == [before]
        assert report(lost.value) is Exit.BROKER_AWAY
        assert capsys.readouterr().err == f"chorus: the connection is lost; {path} is unchanged\n"
        self.only_the_old_one(path, before)

    async def test_event_that_does_not_follow_leaves_the_old_one(
        self, counter: Counter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = await self.rung(counter)
        await forge(counter, "till/till-t-9@7", key="t-9")
        before = path.read_bytes()
        with pytest.raises(DatabaseError, match="till/till-t-9@7 follows version 0") as unreadable:
            await make_anew(counter, force=True)
        assert report(unreadable.value) is Exit.MISCONFIGURED
        assert f"{path} is unchanged" in capsys.readouterr().err
        self.only_the_old_one(path, before)

    async def test_database_that_somebody_has_open_is_not_replaced(self, counter: Counter) -> None:
        path = await self.rung(counter)
        async with running(counter):
            with pytest.raises(DatabaseError, match="a process has it open; stop the workers of till first"):
                await make_anew(counter, force=True)
            await counter.ring("t-1", 3)
            await counter.watcher.until("t-1", "Rung", times=3)
        self.only_the_old_one(path, path.read_bytes())

    async def test_remains_of_a_rebuild_that_was_killed_and_of_a_lost_database_are_cleared_away(
        self, counter: Counter
    ) -> None:
        path = await self.rung(counter)
        known = state(counter)
        for suffix in ("", "-wal", "-shm", ".lock"):
            (counter.directory / f"till.db.rebuilding{suffix}").write_bytes(b"half")
        path.unlink()
        (counter.directory / "till.db-wal").write_bytes(b"of the lost database")
        assert (await make_anew(counter)).set_aside is None
        assert state(counter) == known
        (kept,) = counter.directory.glob("till.db.*.aside-wal")
        assert kept.read_bytes() == b"of the lost database"

    async def test_old_one_is_kept_with_all_that_it_held(self, counter: Counter) -> None:
        path = await self.rung(counter)
        before = path.read_bytes()
        aside = (await make_anew(counter, force=True)).set_aside
        assert aside is not None
        assert aside.read_bytes() == before
        assert path.read_bytes() != before

    @staticmethod
    async def rung(counter: Counter) -> Path:
        """A database with two events."""
        async with running(counter):
            for amount in (1, 2):
                await counter.ring("t-1", amount)
            await counter.watcher.until("t-1", "Rung", times=2)
        return counter.directory / "till.db"

    @staticmethod
    def only_the_old_one(path: Path, before: bytes) -> None:
        """No other file is left in the directory."""
        assert path.read_bytes() == before
        assert sorted(file.name for file in path.parent.glob("till.db*")) == ["till.db", "till.db.lock"]
