"""Applying the declared streams and consumers to a real server: drift, replacement, and nothing destroyed."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import pytest
import pytest_asyncio
from msgspec.structs import replace
from nats.js.errors import NoStreamResponseError

from shared.derived.topology import Declared, declare
from shared.ports.broker import BrokerRefusedError
from shared.streams.apply import Applied
from tests.integration.street import (
    DECLARED,
    STREET,
    TOPOLOGY,
    TOWN,
    Broker,
    OpenKiosk,
    connected,
    context_with,
    declared_with,
    names,
)


@pytest_asyncio.fixture
async def broker(account_url: str) -> AsyncIterator[Broker]:
    async with connected(account_url) as broker:
        yield broker


async def test_after_an_apply_there_is_nothing_to_do(broker: Broker) -> None:
    planned = await broker.plan(DECLARED)
    assert planned[:4] == [f"create stream {name}" for name in ("COMMANDS", "EVENTS", "TIMERS", "DEAD_LETTERS")]
    outcome = await broker.apply(DECLARED)
    assert (len(outcome.done), outcome.refused, outcome.left) == (4 + 4 * TOPOLOGY.partitions, (), ())
    assert await broker.plan(DECLARED) == []
    assert await broker.apply(DECLARED) == Applied()


async def test_drift_is_shown_field_by_field_and_mended(broker: Broker) -> None:
    await broker.apply(DECLARED)
    stream = (await broker.api("STREAM.INFO.COMMANDS"))["config"]
    await broker.api(
        "STREAM.UPDATE.COMMANDS",
        {
            **stream,
            "max_msgs": 7,
            "max_age": 0,
            "subjects": ["cmd.street.>"],
            "metadata": {"owner": "me", "note": "mine"},
        },
    )
    consumer = (await broker.api("CONSUMER.INFO.EVENTS.town-0"))["config"]
    unpinned = {key: value for key, value in consumer.items() if not key.startswith("priority_")}
    await broker.api("CONSUMER.CREATE.EVENTS.town-0", {"stream_name": "EVENTS", "config": unpinned})

    assert await broker.plan(DECLARED) == [
        "update stream COMMANDS",
        "    subjects: - cmd.street.>",
        "    subjects: + cmd.street.CloseKiosk.*",
        "    subjects: + cmd.street.OpenKiosk.*",
        "    max_msgs: 7 -> 100000",
        "    max_age: unlimited -> 7d",
        "    metadata.owner: me -> chorus",
        "    metadata.io.nats.monitor.enabled: none -> true",
        "    metadata.io.nats.monitor.subjects-warn: none -> 50000",
        "    metadata.io.nats.monitor.subjects-critical: none -> 90000",
        "    metadata.chorus.partitions: none -> 4",
        "update consumer EVENTS/town-0",
        "    priority_groups: + w",
        "    priority_policy:  -> pinned_client",
        "    priority_timeout: 0s -> 1s",
    ]
    assert names(await broker.apply(DECLARED)) == ["update COMMANDS/COMMANDS", "update EVENTS/town-0"]
    assert await broker.plan(DECLARED) == []
    assert (await broker.api("STREAM.INFO.COMMANDS"))["config"]["metadata"]["note"] == "mine"


async def test_what_others_added_is_left_alone(broker: Broker) -> None:
    await broker.apply(DECLARED)
    await broker.api(
        "CONSUMER.CREATE.EVENTS.tester",
        {"stream_name": "EVENTS", "config": {"name": "tester", "durable_name": "tester", "ack_policy": "none"}},
    )
    stream = (await broker.api("STREAM.INFO.EVENTS"))["config"]
    await broker.api("STREAM.UPDATE.EVENTS", {**stream, "republish": {"src": "evt.>", "dest": "live.>"}})
    assert await broker.plan(DECLARED) == []


async def test_a_replaced_consumer_destroys_nothing(broker: Broker) -> None:
    await broker.apply(DECLARED)
    await broker.publish("cmd.street.OpenKiosk.s-1")
    wider = declare(replace(TOPOLOGY, consumers=replace(TOPOLOGY.consumers, max_waiting=64)), (STREET, TOWN))
    outcome = await broker.apply(wider)
    assert {change.action for change in outcome.done} == {"replace"}
    assert len(await broker.subjects("COMMANDS")) == 1
    assert await broker.plan(wider) == []


@pytest.mark.parametrize(
    ("stream", "keys", "lost"),
    [
        ("COMMANDS", {"max_msgs": 1}, "the oldest 2 of 3 stored messages"),
        ("EVENTS", {"max_bytes": 10}, "the oldest messages: "),
        ("EVENTS", {"storage": "memory"}, "all 3 stored messages"),
        ("COMMANDS", {"retention": "limits"}, "all 3 stored messages"),
    ],
)
async def test_what_would_destroy_is_refused_as_a_whole(
    broker: Broker, stream: str, keys: dict[str, Any], lost: str
) -> None:
    await broker.apply(DECLARED)
    for key in ("s-1", "s-2", "s-3"):
        await broker.publish(f"cmd.street.OpenKiosk.{key}")
        await broker.publish(f"evt.street.KioskOpened.{key}")
    other = declared_with(stream, description="changed", **keys)
    outcome = await broker.apply(other)
    (refused,) = outcome.refused
    assert (outcome.done, refused.name) == ((), stream)
    assert refused.destroys is not None
    assert refused.destroys.startswith(lost)
    assert await broker.plan(DECLARED) == []

    allowed = await broker.apply(other, allow_destructive=True)
    assert allowed.done[0].name == stream
    assert await broker.plan(other) == []


async def test_the_number_of_partitions_stays_while_anything_is_stored(broker: Broker) -> None:
    more = declare(replace(TOPOLOGY, partitions=8), (STREET, TOWN))
    await broker.apply(DECLARED)
    await broker.publish("evt.street.KioskOpened.s-1")
    outcome = await broker.apply(more)
    assert outcome.done == ()
    assert [(change.name, change.destroys) for change in outcome.refused] == [
        ("EVENTS", "the order per key: stored messages keep their partition, and new ones go to another")
    ]
    assert await broker.plan(DECLARED) == []


async def test_the_number_of_partitions_may_change_before_anything_is_stored(broker: Broker) -> None:
    fewer = declare(replace(TOPOLOGY, partitions=2), (STREET, TOWN))
    await broker.apply(DECLARED)
    outcome = await broker.apply(fewer)
    assert outcome.refused == ()
    assert {change.name for change in outcome.left} == {"street-2", "street-3", "town-2", "town-3"}
    assert (await broker.apply(fewer, allow_destructive=True)).left == ()
    assert await broker.plan(fewer) == []


async def test_a_command_is_not_dropped_while_one_waits(broker: Broker) -> None:
    without = declare(TOPOLOGY, (context_with(STREET, accepts=(OpenKiosk,)), TOWN))
    await broker.apply(DECLARED)
    await broker.publish("cmd.street.CloseKiosk.s-1")
    (refused,) = (await broker.apply(without)).refused
    assert refused.destroys == "the route of 1 stored messages: no context accepts cmd.street.CloseKiosk.* any more"

    await broker.api("STREAM.PURGE.COMMANDS")
    assert names(await broker.apply(without)) == ["update COMMANDS/COMMANDS"]
    with pytest.raises(NoStreamResponseError):
        await broker.publish("cmd.street.CloseKiosk.s-1")


async def test_a_consumer_that_nobody_needs_is_shown_and_removed_only_when_told_to(broker: Broker) -> None:
    without = declare(TOPOLOGY, (STREET, context_with(TOWN, policies=())))
    await broker.apply(DECLARED)
    outcome = await broker.apply(without)
    assert (outcome.done, outcome.refused) == ((), ())
    assert [change.name for change in outcome.left] == ["town-0", "town-1", "town-2", "town-3"]
    assert "remove consumer EVENTS/town-0" in await broker.plan(without)

    assert len((await broker.apply(without, allow_destructive=True)).done) == 4
    assert await broker.plan(without) == []


async def test_two_applies_at_once_are_harmless(account_url: str) -> None:
    outcomes: list[Applied] = []

    async def one(declared: Iterable[Declared]) -> None:
        async with connected(account_url) as broker:
            outcomes.append(await broker.apply(tuple(declared)))

    for declared in (DECLARED, declared_with("COMMANDS", max_msgs=50)):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one, declared)
        async with connected(account_url) as broker:
            assert await broker.plan(declared) == []
    assert [outcome.refused for outcome in outcomes] == [()] * 8


async def test_the_servers_refusal_is_reported_with_its_code(broker: Broker) -> None:
    await broker.api("STREAM.CREATE.ELSEWHERE", {"name": "ELSEWHERE", "subjects": ["dlq.>"]})
    with pytest.raises(BrokerRefusedError, match=r"STREAM\.CREATE\.DEAD_LETTERS: subjects overlap") as refused:
        await broker.apply(DECLARED)
    assert refused.value.code == 10065
