"""Commands that cannot be obeyed are answered, and done."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import anyio
import pytest
import pytest_asyncio

from shared.run.server import local_server
from shared.wire.messages import content_hash
from tests.integration.engine import Counter, closing_at, rejection, running, standing

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_counter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Counter]:
    """One with a worker behind it, for tests that keep to a key of their own."""
    directory = tmp_path_factory.mktemp("till")
    over = anyio.Event()

    async def work(counter: Counter) -> None:
        async with running(counter):
            await over.wait()

    async with local_server(directory / "nats") as server, standing(server.url, directory) as counter:
        worker = asyncio.create_task(work(counter))
        yield counter
        over.set()
        await worker


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A till of this test's own."""
    return f"t-{content_hash(request.node.name.encode()).hex()}"


MALFORMED = {
    "an amount of nothing": (b'{"amount": 0}', "$.amount"),
    "a text for a number": (b'{"amount": "5"}', "$.amount"),
    "an amount that is missing": (b"{}", "$"),
    "a field that nobody knows": (b'{"amount": 5, "tip": 1}', "$"),
    "a field said twice": (b'{"amount": 5, "amount": 6}', "$"),
    "another till than the subject's": (b'{"amount": 5, "till_id": "t-2"}', "$.till_id"),
    "not a number": (b'{"amount": NaN}', "$"),
    "a number beyond all numbers": (b'{"amount": 1e400}', "$.amount"),
    "digits without end": (b'{"amount": %s}' % (b"9" * 5_000), "$"),
    "half of a body": (b'{"amount": ', "$"),
    "no body": (b"", "$"),
    "what is not UTF-8": (b'{"amount": "\xff"}', "$"),
    "a nest without end": (b"[" * 60_000, "$"),
}


@pytest.mark.parametrize(("body", "path"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_body_is_answered_with_its_path(
    shared_counter: Counter, body: bytes, path: str, key: str
) -> None:
    counter = shared_counter
    await counter.publish(f"cmd.till.Ring.{key}", body)
    fact = await counter.watcher.until(key, "CommandRejected")
    assert rejection(fact) == ("malformed", [path])
    await counter.ring(key, 5)
    await counter.watcher.until(key, "Rung")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Causation-Depth", "many"),
        ("Causation-Depth", "99"),
        ("Correlation-Id", "o.42"),
        ("Nats-Msg-Id", "two words"),
        ("Nats-Msg-Id", "x" * 256),
    ],
)
async def test_header_that_cannot_be_used_is_answered_under_the_commands_key(
    shared_counter: Counter, header: str, value: str, key: str
) -> None:
    counter = shared_counter
    await counter.publish(f"cmd.till.Ring.{key}", b'{"amount": 5}', **{header: value})
    fact = await counter.watcher.until(key, "CommandRejected")
    assert rejection(fact) == ("malformed", [header])
    await counter.ring(key, 5)
    await counter.watcher.until(key, "Rung")


async def test_key_that_cannot_be_used_is_answered_all_the_same(shared_counter: Counter) -> None:
    counter = shared_counter
    await counter.publish("cmd.till.Ring.caf\u00e9", b'{"amount": 5}')
    fact = await counter.watcher.until("unkeyed", "CommandRejected")
    assert rejection(fact) == ("malformed", ["subject"])


async def test_command_that_the_till_refuses_is_answered_with_its_reason(shared_counter: Counter, key: str) -> None:
    counter = shared_counter
    await counter.publish(f"cmd.till.CloseAt.{key}", closing_at(datetime(2020, 1, 1, tzinfo=UTC)))
    await counter.watcher.until(key, "TillClosed")
    await counter.ring(key, 5)
    assert rejection(await counter.watcher.until(key, "CommandRejected")) == ("closed", [])
