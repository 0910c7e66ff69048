"""The bucket SCHEMAS on a real server, written as an apply does and read with nats-py's own key-value client."""

from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.js.errors import KeyDeletedError, KeyNotFoundError

from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import find_connection
from shared.schemas.bucket import bucket, differing, key_of, write
from shared.streams.apply import apply, plan
from shared.streams.file import read_topology
from shared.wire.streams import SCHEMAS

TOPOLOGY = read_topology(Path(__file__).parents[2] / "streams.yaml")
DONE, UNDONE = "here/events/ThingDone.json", "here/events/ThingUndone.json"
FILES = {DONE: b'{"title": "ThingDone"}', UNDONE: b'{"title": "ThingUndone"}', "asyncapi.json": b"{}"}


@pytest_asyncio.fixture
async def broker(account_url: str) -> AsyncIterator[JetStream]:
    broker = await connect(find_connection({"NATS_URL": account_url}), name="test")
    await apply(broker.api, [bucket(TOPOLOGY)])
    yield broker
    await broker.close()


async def value(url: str, key: str) -> bytes | None:
    """The value as another program reads it."""
    client = await nats.connect(url)
    try:
        entry = await (await client.jetstream().key_value(SCHEMAS)).get(key)
        return entry.value
    except (KeyNotFoundError, KeyDeletedError):
        return None
    finally:
        await client.close()


async def test_schemas_are_values_that_any_client_can_read(broker: JetStream, account_url: str) -> None:
    assert await write(broker, FILES) == ["here.events.ThingDone", "here.events.ThingUndone", "asyncapi"]
    assert await value(account_url, "here.events.ThingDone") == FILES[DONE]
    assert await plan(broker.api, [bucket(TOPOLOGY)]) == ()


async def test_only_a_key_that_differs_is_written(broker: JetStream, account_url: str) -> None:
    await write(broker, FILES)
    assert await write(broker, FILES) == []
    changed = {**FILES, DONE: b'{"title": "ThingDone", "type": "object"}'}
    assert await differing(broker, changed) == {key_of(DONE): changed[DONE]}
    assert await write(broker, changed) == [key_of(DONE)]
    assert await value(account_url, key_of(DONE)) == changed[DONE]


async def test_the_key_of_a_message_that_is_gone_is_deleted_unless_a_context_is_absent(
    broker: JetStream, account_url: str
) -> None:
    await write(broker, FILES)
    left = {path: content for path, content in FILES.items() if path != UNDONE}
    assert await write(broker, left, complete=False) == []
    assert await write(broker, left) == [key_of(UNDONE)]
    assert await value(account_url, key_of(UNDONE)) is None
    assert await write(broker, left) == []
    assert await write(broker, FILES) == [key_of(UNDONE)]
    assert await value(account_url, key_of(UNDONE)) == FILES[UNDONE]


async def test_without_the_bucket_every_key_differs(account_url: str) -> None:
    broker = await connect(find_connection({"NATS_URL": account_url}), name="test")
    try:
        assert [*await differing(broker, FILES)] == [key_of(path) for path in FILES]
    finally:
        await broker.close()


@pytest.mark.parametrize(
    ("path", "key"), [(DONE, "here.events.ThingDone"), ("here/events/ThingDone.1.json", "here.events.ThingDone.1")]
)
def test_a_key_is_the_path_of_the_file(path: str, key: str) -> None:
    assert key_of(path) == key
