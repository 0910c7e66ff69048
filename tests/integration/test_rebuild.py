"""A rebuilt database forgets nothing that waited, and takes in nothing that a stranger said."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.adapters.sqlite_schema import DatabaseError
from shared.engine.rebuild import rebuild
from shared.ops import parked
from shared.ops.server import LocalServer
from tests.integration.engine import PARTITIONS, Counter, running, standing
from tests.integration.test_database import WITHIN_S, copy, leaves
from tests.integration.test_trouble import stuck_till
from tests.integration.till import JAMS_AT, till

ENGINE_HEADERS = {
    "Correlation-Id": "t-1",
    "Causation-Id": "m-0",
    "Causation-Depth": "1",
    "Occurred-At": "2026-11-24T09:00:00.000000Z",
    "Schema-Version": "1",
}
RUNG = b'{"till_id": "t-1", "amount": 1, "total": 1}'


@pytest.fixture
async def counter(own_nats_server: LocalServer, tmp_path: Path) -> AsyncIterator[Counter]:
    async with standing(own_nats_server.url, tmp_path) as counter:
        yield counter


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """While this file exists, the drawer cannot take 13."""
    file = tmp_path / "stuck"
    file.write_text("13")
    return file


def mend(stuck: Path) -> None:
    stuck.unlink()


async def make_anew(counter: Counter, *, force: bool = False) -> Any:
    return await rebuild(till(), counter.broker, counter.directory, partitions=PARTITIONS, force=force)


async def forget_dead_letters(counter: Counter) -> None:
    await counter.broker.api("$JS.API.STREAM.PURGE.DEAD_LETTERS", b"")


def waiting(counter: Counter) -> list[tuple[str, str, str, str, str, str, int]]:
    found = parked.parked_in(counter.directory, ["till"])
    return [(m.key, m.message_id, m.subject, m.headers, m.body, m.reason, m.sequence) for m in found]


async def park_two_keys(counter: Counter, stuck: Path) -> None:
    """Commands and events of t-1 and t-2 wait, and those of t-3 flow."""
    async with running(counter, stuck_till(stuck)):
        for key in ("t-1", "t-2"):
            await counter.ring(key, JAMS_AT, f"ring-{key}")
            await counter.watcher.until(key, "MessageParked")
            await counter.scan(key, 6, f"scanner/scan-{key}@1")
        await counter.scan("t-3", 1, "scanner/scan-t-3@1")
        await counter.watcher.until("t-3", "Rung")
        await counter.watcher.until("t-2", "MessageParked", times=2)
        await counter.watcher.until("t-1", "MessageParked", times=2)


class TestParked:
    """What was parked when a database was lost is parked in the one that is made anew."""

    async def test_messages_that_were_parked_are_parked_again_and_decided_in_order(
        self, counter: Counter, stuck: Path
    ) -> None:
        await park_two_keys(counter, stuck)
        before = waiting(counter)
        (counter.directory / "till.db").unlink()
        await forget_dead_letters(counter)
        assert (await make_anew(counter)).parked == 4
        assert sorted(waiting(counter)) == sorted(before)
        mend(stuck)
        async with running(counter, stuck_till(stuck)):
            await parked.retry(counter.directory, parked.parked_in(counter.directory, ["till"]), who="ann")
            for key in ("t-1", "t-2"):
                await counter.watcher.until(key, "Rung", times=2)
        assert [counter.totals(key) for key in ("t-1", "t-2", "t-3")] == [[13, 19], [13, 19], [1]]
        assert waiting(counter) == []

    async def test_messages_parked_after_an_older_copy_was_taken_are_parked_again(
        self, counter: Counter, stuck: Path
    ) -> None:
        async with running(counter, stuck_till(stuck)):
            await counter.scan("t-3", 5, "scanner/scan-t-3@0")
            await counter.watcher.until("t-3", "Rung")
        copy(counter.directory / "till.db", counter.directory / "copy")
        await park_two_keys(counter, stuck)
        before = waiting(counter)
        copy(counter.directory / "copy", counter.directory / "till.db")
        assert (await make_anew(counter, force=True)).parked == 4
        assert sorted(waiting(counter)) == sorted(before)

    async def test_message_that_an_operator_skipped_stays_skipped(self, counter: Counter, stuck: Path) -> None:
        await park_two_keys(counter, stuck)
        async with running(counter, stuck_till(stuck)):
            first = next(m for m in parked.parked_in(counter.directory, ["till"]) if m.message_id == "ring-t-1")
            await parked.skip(counter.directory, first, who="ann", why="a test")
            await counter.watcher.until("t-1", "MessageUnparked", times=2)
        skipped = counter.rows("SELECT key, message_id, subject, reason, who, why, at FROM skipped")
        (counter.directory / "till.db").unlink()
        assert (await make_anew(counter)).parked == 2
        assert counter.rows("SELECT key, message_id, subject, reason, who, why, at FROM skipped") == skipped
        mend(stuck)
        async with running(counter, stuck_till(stuck)):
            await counter.ring("t-1", 7)
            await counter.watcher.until("t-1", "Rung", times=2)
        assert counter.totals("t-1") == [6, 13]


class TestStrangers:
    """Whoever reaches the broker may publish under the till's subjects; the till says so and goes on."""

    @pytest.mark.parametrize(
        ("subject", "message_id", "body", "headers"),
        [
            ("evt.till.Whatever.t-9", "till/till-t-9@1", b"{}", {}),
            ("evt.till.Whatever.t-9", "till/till-t-9@1", b"{}", ENGINE_HEADERS),
            ("evt.till.Rung.t-1", "till/till-t-1@9", RUNG, {}),
            ("evt.till.Rung.t-1", "till/till-t-2@1", RUNG, ENGINE_HEADERS),
            ("evt.till.Rung.t-2", "till/till-t-2@1", RUNG, ENGINE_HEADERS),
            ("evt.till.Rung.t-1", "till/till-t-1@9", b'{"till_id": "t-1"}', ENGINE_HEADERS),
            ("evt.till.Rung.t-1", None, RUNG, ENGINE_HEADERS),
            ("evt.till.Rung.t-1", "no id of ours", RUNG, ENGINE_HEADERS),
        ],
    )
    async def test_message_that_cannot_be_the_tills_stops_no_worker_and_no_rebuild(
        self, counter: Counter, subject: str, message_id: str | None, body: bytes, headers: dict[str, str]
    ) -> None:
        async with running(counter):
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung")
        given = {name.replace("-", "_"): value for name, value in headers.items()}
        await counter.publish(subject, body, message_id, **given)
        async with running(counter):
            await counter.ring("t-3", 6)
            await counter.watcher.until("t-3", "Rung")
        ((recorded, who),) = counter.rows("SELECT subject, who FROM strangers")
        assert recorded.startswith(subject.rpartition(".")[0])
        assert who == ""
        if subject.startswith("evt.till.Whatever") and headers:
            return  # A newer release may have said it, so that a rebuild by this one would lose it.
        (counter.directory / "till.db").unlink()
        assert (await make_anew(counter)).strangers == 1
        async with running(counter):
            await counter.ring("t-3", 7)
            await counter.watcher.until("t-3", "Rung", times=2)
        assert counter.rows("SELECT id, version FROM aggregates ORDER BY id") == [("till-t-1", 1), ("till-t-3", 2)]

    async def test_event_that_could_be_the_tills_means_an_older_copy_until_it_is_declared_void(
        self, counter: Counter
    ) -> None:
        async with running(counter):
            await counter.ring("t-3", 5)
            await counter.watcher.until("t-3", "Rung")
        given = {name.replace("-", "_"): value for name, value in ENGINE_HEADERS.items()}
        await counter.publish("evt.till.Rung.t-1", RUNG, "till/till-t-1@1", **given)
        with pytest.raises(BaseExceptionGroup) as refused, anyio.fail_after(WITHIN_S):
            async with running(counter):
                await anyio.sleep_forever()
        (error,) = leaves(refused.value)
        assert isinstance(error, DatabaseError)
        assert "chorus rebuild till --force" in str(error)
        assert "chorus parked void till/till-t-1@1" in str(error)


class TestBeside:
    """The new database is made beside the old one, which stays until the new one is whole."""

    async def test_rebuild_that_fails_leaves_the_old_database_as_it_was(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung")
        given = {name.replace("-", "_"): value for name, value in ENGINE_HEADERS.items()}
        await counter.publish("evt.till.Newer.t-2", b"{}", "till/till-t-2@1", **given)
        with pytest.raises(DatabaseError, match="which this release does not know; run a newer one"):
            await make_anew(counter, force=True)
        assert list(counter.directory.glob("*.aside")) == []
        async with running(counter):
            await counter.ring("t-1", 6)
            await counter.watcher.until("t-1", "Rung", times=2)
        assert counter.totals("t-1") == [5, 11]

    async def test_database_that_a_worker_uses_is_not_replaced(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung")
            with pytest.raises(DatabaseError, match="a process has it open; stop the workers of the context first"):
                await make_anew(counter, force=True)
            await counter.ring("t-1", 6)
            await counter.watcher.until("t-1", "Rung", times=2)

    async def test_old_database_is_set_aside_whole(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung")
        rebuilt = await make_anew(counter, force=True)
        assert rebuilt.set_aside is not None
        names = sorted(path.name for path in counter.directory.glob("till.db*"))
        assert names == ["till.db", rebuilt.set_aside.name, "till.db.lock"]
        counter.directory.joinpath("till.db").unlink()
        rebuilt.set_aside.rename(counter.directory / "till.db")
        async with running(counter):
            await counter.ring("t-1", 6)
            await counter.watcher.until("t-1", "Rung", times=2)
        assert counter.totals("t-1") == [5, 11]

    async def test_what_a_killed_rebuild_left_is_removed(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring("t-1", 5)
            await counter.watcher.until("t-1", "Rung")
        (counter.directory / "till.db.rebuilding").write_text("half of it")
        await make_anew(counter, force=True)
        assert not (counter.directory / "till.db.rebuilding").exists()
