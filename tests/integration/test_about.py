"""`api.till.about` over a real server: the owner of a partition answers alone, also while the database is locked."""

import json
import sqlite3
from contextlib import closing

import pytest

from shared.context import Request
from shared.ports.broker import BrokerUnavailableError
from tests.integration.engine import Counter, running, until_idle, working

KEYS = ("t-1", "t-2", "t-3", "t-4")
"""Keys of both partitions."""


async def about(counter: Counter, key: str) -> dict[str, object]:
    body = json.dumps({"key": key}).encode()
    _, answer = await counter.broker.request("api.till.about", body, {}, 5.0)
    content: dict[str, object] = json.loads(answer)
    return content


def ids(said: dict[str, object]) -> list[str]:
    aggregates = said["aggregates"]
    assert isinstance(aggregates, list)
    return [aggregate["id"] for aggregate in aggregates]


async def test_of_two_processes_the_one_that_owns_the_partition_answers(counter: Counter) -> None:
    async with working(counter) as one, working(counter) as other:
        for key in KEYS:
            await counter.ring(key, 5)
        await until_idle(counter)
        for key in KEYS:
            request = Request({}, json.dumps({"key": key}).encode())
            answers = [await process.questions.about.answer(request) for process in (one, other)]
            assert [answer is None for answer in answers].count(False) == 1
            assert ids(await about(counter, key)) == [f"till-{key}"]


async def test_answer_waits_for_no_transaction_of_another_process(counter: Counter) -> None:
    async with running(counter):
        await counter.ring("t-1", 5)
        await until_idle(counter)
        with closing(sqlite3.connect(counter.directory / "till.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await counter.ring("t-1", 6)
            said = await about(counter, "t-1")
            other.execute("ROLLBACK")
        assert ids(said) == ["till-t-1"]
        assert said["unreadable"] == ""


async def test_nobody_answers_when_no_process_runs(counter: Counter) -> None:
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await about(counter, "t-1")
