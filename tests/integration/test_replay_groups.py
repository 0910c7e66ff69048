"""`chorus replay` of a read side on a real server, while its group runs and answers."""

import json
import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from shared.adapters.jetstream import JetStream
from shared.adapters.sqlite.views.store import only_one, successor_of
from shared.ports.broker import BrokerUnavailableError
from tests.conftest import SEED
from tests.forking import Ran, fork, run_chorus
from tests.integration.test_read_side import PLACED, asked, broker, projection, say, states
from tests.waiting import WITHIN_S, until, until_answer

__all__ = ["broker"]


@pytest.fixture
def environ(account_url: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "CHORUS_"))}
    return {**kept, "NATS_URL": account_url, "CHORUS_DATA_DIR": str(tmp_path / "data")}


async def replay(environ: dict[str, str], into: Path, *words: str) -> Ran:
    command = ("replay", "insights", "--group", "projection", "--into", str(into), "--diff", *words)
    return await run_chorus(*command, environ=environ)


async def test_the_second_read_model_takes_over_under_a_running_group_and_every_query_is_answered(
    broker: JetStream, environ: dict[str, str], tmp_path: Path
) -> None:
    """A row of the live database is spoiled: the difference is shown, and gone afterwards, in the bucket too."""
    live = tmp_path / "data" / "insights-projection.db"
    answers: list[str] = []
    with only_one(live):
        async with projection(broker, live.parent) as process, anyio.create_task_group() as asking:
            await say(broker, "OrderPlaced", 1, **PLACED)
            confirmed = await say(broker, "OrderConfirmed", 2)
            await asked(broker, order_id="o-1", at_least=confirmed, within_s=30)
            await until(lambda: process.is_resting, "the bucket has the order")
            same = await replay(environ, tmp_path / "same")
            with closing(sqlite3.connect(live, isolation_level=None)) as spoiling:
                spoiling.execute("UPDATE v_orders SET row = json_set(row, '$.state', 'PENDING')")

            async def ask() -> None:
                while True:
                    answer = await asked(broker, order_id="o-1")
                    assert answer["as_of"]["sequence"] >= confirmed
                    answers.append(answer["order"]["state"])

            asking.start_soon(ask)
            swapped = await replay(environ, tmp_path / "second", "--swap", "--json")
            await until(lambda: process.is_resting, "the bucket has the row again")
            delivered = await say(broker, "DeliveryRecorded", 3)
            await asked(broker, order_id="o-1", at_least=delivered, within_s=30)
            await until(lambda: process.is_resting, "the bucket has the last change")
            asking.cancel_scope.cancel()
    assert (same.code, same.errors) == (0, "")
    assert same.output.startswith("projection: nothing differs, up to event 2; the second database is ")
    assert (swapped.code, swapped.errors) == (0, "")
    said = json.loads(swapped.output)
    ((what, before, after),) = [(one["what"], one["before"], one["after"]) for one in said["differences"]]
    assert (what, before["state"], after["state"]) == ("orders", "PENDING", "CONFIRMED")
    assert said["swapped"] == {
        "projection": "the second database is the live one; the one before it has the ending .aside"
    }
    assert (answers[0], "CONFIRMED" in answers) == ("PENDING", True)
    assert (await states(broker))[-2:] == ["CONFIRMED", "DELIVERED"]


async def test_what_cannot_be_compared_is_refused_with_its_remedy(
    broker: JetStream, environ: dict[str, str], tmp_path: Path
) -> None:
    live = tmp_path / "data" / "insights-projection.db"
    nothing = await replay(environ, tmp_path / "none")
    assert (nothing.code, "start the worker first" in nothing.errors) == (78, True)
    async with projection(broker, live.parent) as process:
        await say(broker, "OrderPlaced", 1, **PLACED)
        await until(lambda: process.is_resting and process.folded == 1, "the group has the order")
    with closing(sqlite3.connect(live, isolation_level=None)) as spoiling:
        spoiling.execute("UPDATE v_orders SET row = json_set(row, '$.state', 'CANCELLED')")
    differing = await replay(environ, tmp_path / "second")
    assert (differing.code, differing.errors) == (1, "")
    assert differing.output.startswith('~ orders o-1: $.state "CANCELLED" -> "PENDING"\n')
    again = await replay(environ, tmp_path / "second")
    assert (again.code, "there already; delete it" in again.errors) == (78, True)
    beyond = await replay(environ, tmp_path / "beyond", "--from", "7")
    assert (beyond.code, "knows EVENTS up to 1, not to 7" in beyond.errors) == (1, True)
    when = await replay(environ, tmp_path / "when", "--from", "yesterday")
    assert (when.code, "give a sequence of EVENTS, or a time" in when.errors) == (64, True)
    swapped = await replay(environ, tmp_path / "third", "--from", "1", "--swap")
    assert (swapped.code, swapped.errors) == (0, "")
    async with projection(broker, live.parent):
        assert (await asked(broker, order_id="o-1"))["order"]["state"] == "PENDING"


@pytest.mark.long
async def test_a_worker_that_is_killed_at_random_while_databases_are_exchanged_loses_nothing(
    broker: JetStream, environ: dict[str, str], tmp_path: Path
) -> None:
    """R1: each time a row is spoiled, and after the exchange the table and the bucket have it right."""
    chance = random.Random(SEED)
    live = tmp_path / "data" / "insights-projection.db"
    words = ("shared.cli", "worker", "insights", "--group", "projection")
    placed = await say(broker, "OrderPlaced", 1, **PLACED)
    with (tmp_path / "worker.log").open("wb") as log:
        worker = await fork(words, environ, log)
        await known(broker, placed)
        for number in range(10):
            with closing(sqlite3.connect(live, isolation_level=None, timeout=5)) as spoiling:
                spoiling.execute("UPDATE v_orders SET row = json_set(row, '$.state', 'SPOILED')")
            async with anyio.create_task_group() as tasks:
                swapped: list[Ran] = []

                async def swap(into: Path, swapped: list[Ran] = swapped) -> None:
                    swapped.append(await replay(environ, into, "--swap"))

                tasks.start_soon(swap, tmp_path / f"second-{number}")
                await anyio.sleep(chance.uniform(0.3, 1.5))
                os.kill(worker.pid, signal.SIGKILL)
                await worker.wait()
                worker = await fork(words, environ, log)
            assert (swapped[0].code, swapped[0].errors) == (0, ""), swapped[0].output
            await known(broker, placed)
            await until(lambda: not successor_of(live).exists(), "the exchange")
            assert (await asked(broker, order_id="o-1"))["order"]["state"] == "PENDING"
        confirmed = await say(broker, "OrderConfirmed", 2)
        await known(broker, confirmed)
        with anyio.fail_after(WITHIN_S):
            while (await states(broker))[-1] != "CONFIRMED":  # noqa: ASYNC110 - nobody tells.
                await anyio.sleep(0.1)
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
    assert set(await states(broker)) == {"PENDING", "CONFIRMED"}


async def known(broker: JetStream, sequence: int) -> None:
    """Wait until a worker answers that it knows EVENTS up to here."""

    async def is_known() -> bool:
        try:
            return bool((await asked(broker, order_id="o-1", at_least=sequence))["as_of"]["sequence"] >= sequence)
        except BrokerUnavailableError:
            return False

    await until_answer(is_known)
