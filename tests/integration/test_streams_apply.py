"""The declared streams and consumers on a real server."""

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import nats
import pytest
import pytest_asyncio
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js.errors import NoStreamResponseError

from shared.context import Aggregate, Context, Decider, Policy, Timer
from shared.ports.broker import BrokerRefusedError
from shared.streams.apply import Applied, apply, plan
from shared.streams.drift import describe
from shared.streams.file import read_topology
from shared.topology import Declared, declare
from shared.wire.messages import FROM_SUBJECT, parse_subject, partition_of
from tests.idle import decide, evolve, whenever_do_nothing

TOPOLOGY = read_topology(Path(__file__).parents[2] / "streams.yaml")
WAIT_S = 5.0


class OpenKiosk(Struct, frozen=True, kw_only=True):
    kiosk_id: Annotated[str, FROM_SUBJECT] = ""


class CloseKiosk(Struct, frozen=True, kw_only=True):
    kiosk_id: Annotated[str, FROM_SUBJECT] = ""


class KioskOpened(Struct, frozen=True, kw_only=True):
    kiosk_id: str


class KioskClosed(Struct, frozen=True, kw_only=True):
    kiosk_id: str


class Kiosk(Struct, frozen=True, kw_only=True):
    is_open: bool = False


STREET = Context(
    name="street",
    deciders=(
        Decider(
            aggregate=Aggregate(
                name="kiosk", key="kiosk_id", state=Kiosk, events=(KioskOpened, KioskClosed), evolve=evolve
            ),
            commands=(OpenKiosk, CloseKiosk),
            decide=decide,
        ),
    ),
    accepts=(OpenKiosk, CloseKiosk),
    timers=(Timer(name="Closing", armed_by=KioskOpened, at=lambda _: None, whenever_due=whenever_do_nothing),),
)
TOWN = Context(
    name="town",
    deciders=(),
    policies=(
        Policy("street", KioskOpened, whenever_do_nothing),
        Policy("street", KioskOpened, whenever_do_nothing),
        Policy("street", KioskClosed, whenever_do_nothing),
    ),
)
DECLARED = declare(TOPOLOGY, (STREET, TOWN))

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Broker:
    """A raw connection, as any client of the server has it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def request(self, subject: str, body: bytes) -> bytes:
        return bytes((await self.client.request(subject, body, timeout=WAIT_S)).data)

    async def api(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.request(f"$JS.API.{subject}", json.dumps(body or {}).encode()))
        assert "error" not in answer, answer
        return answer

    async def publish(self, subject: str) -> None:
        await self.client.jetstream().publish(subject, b"{}", timeout=WAIT_S)

    async def subjects(self, stream: str) -> dict[str, int]:
        state = (await self.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"]
        return dict(state.get("subjects", {}))

    async def apply(self, declared: tuple[Declared, ...], *, allow_destructive: bool = False) -> Applied:
        return await apply(self.request, declared, allow_destructive=allow_destructive)

    async def plan(self, declared: tuple[Declared, ...]) -> list[str]:
        return [line for change in await plan(self.request, declared) for line in describe(change)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Broker]:
    client = await nats.connect(url)
    try:
        yield Broker(client)
    finally:
        await client.close()


@pytest_asyncio.fixture
async def broker(account_url: str) -> AsyncIterator[Broker]:
    async with connected(account_url) as broker:
        yield broker


def declared_with(stream: str, **keys: Any) -> tuple[Declared, ...]:
    """The declaration with other keys for one stream."""
    streams = {**TOPOLOGY.streams, stream: {**TOPOLOGY.streams[stream], **keys}}
    return declare(replace(TOPOLOGY, streams=streams), (STREET, TOWN))


def names(outcome: Applied) -> list[str]:
    return [f"{change.action} {change.stream}/{change.name}" for change in outcome.done]


async def pulled(broker: Broker, stream: str) -> tuple[list[int], list[str]]:
    """The stream sequences that the consumer of street delivers, each with its reply subject."""
    inbox = broker.client.new_inbox()
    subscription = await broker.client.subscribe(inbox)
    consumer = f"{stream}.street-0"
    await broker.api(f"CONSUMER.UNPIN.{consumer}", {"group": "w"})
    wanted = {"batch": 100, "no_wait": True, "group": "w"}
    await broker.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", json.dumps(wanted).encode(), reply=inbox)
    replies = []
    while (message := await subscription.next_msg(timeout=WAIT_S)).reply:
        replies.append(message.reply)
    await subscription.unsubscribe()
    return [int(reply.split(".")[5]) for reply in replies], replies


def context_with(context: Context, **changes: Any) -> Context:
    return dataclasses.replace(context, **changes)


async def test_after_an_apply_there_is_nothing_to_do(broker: Broker) -> None:
    planned = await broker.plan(DECLARED)
    assert planned[:4] == [f"create stream {name}" for name in ("COMMANDS", "EVENTS", "TIMERS", "DEAD_LETTERS")]
    outcome = await broker.apply(DECLARED)
    assert (len(outcome.done), outcome.refused, outcome.left) == (4 + 4 * TOPOLOGY.partitions, (), ())
    assert await broker.plan(DECLARED) == []
    assert await broker.apply(DECLARED) == Applied()


async def test_a_context_reads_only_what_it_reacts_to(broker: Broker) -> None:
    await broker.apply(DECLARED)

    async def filters(stream: str) -> dict[str, list[str]]:
        found = (await broker.api(f"CONSUMER.LIST.{stream}"))["consumers"]
        return {one["name"]: one["config"]["filter_subjects"] for one in found if one["name"].endswith("-3")}

    assert await filters("COMMANDS") == {"street-3": ["cmd.street.*.3.*"]}
    assert await filters("EVENTS") == {"town-3": ["evt.street.KioskClosed.3.*", "evt.street.KioskOpened.3.*"]}
    assert await filters("TIMERS") == {"street-3": ["due.street.*.3.*"], "town-3": ["due.town.*.3.*"]}


async def test_a_consumer_is_pinned_and_says_whose_it_is(broker: Broker) -> None:
    await broker.apply(DECLARED)
    events = (await broker.api("CONSUMER.INFO.EVENTS.town-0"))["config"]
    commands = (await broker.api("CONSUMER.INFO.COMMANDS.street-0"))["config"]
    assert (events["ack_policy"], commands["ack_policy"]) == ("none", "explicit")
    assert commands["ack_wait"] == 600 * 10**9
    for config in (events, commands):
        assert (config["priority_policy"], config["priority_groups"]) == ("pinned_client", ["w"])
        assert config["priority_timeout"] == 10**9
        assert config["metadata"]["owner"] == "chorus"
        assert config["metadata"]["chorus.partitions"] == "4"
    assert events["metadata"]["context"] == "town"


async def test_a_misspelled_command_is_refused_at_the_door(broker: Broker) -> None:
    await broker.apply(DECLARED)
    await broker.publish("cmd.street.OpenKiosk.s-1")
    for wrong in ("cmd.street.OpenKioskp.s-1", "cmd.stret.OpenKiosk.s-1", "evt.stret.KioskOpened.s-1"):
        with pytest.raises(NoStreamResponseError):
            await broker.publish(wrong)


async def test_nobody_chooses_a_partition(broker: Broker) -> None:
    await broker.apply(DECLARED)
    for forged in ("cmd.street.OpenKiosk.0.s-1", "evt.street.KioskOpened.0.s-1", "due.street.Closing.0.s-1"):
        with pytest.raises(NoStreamResponseError):
            await broker.publish(forged)


async def test_the_server_and_the_code_agree_about_every_keys_partition(broker: Broker) -> None:
    await broker.apply(DECLARED)
    keys = {f"key_{n}-{'x' * (n % 50)}" for n in range(200)}
    for key in keys:
        await broker.publish(f"evt.street.KioskOpened.{key}")
    await broker.publish("cmd.street.OpenKiosk.s-1")
    await broker.publish("due.street.Closing.s-1")
    stored = [
        parse_subject(subject)
        for stream in ("COMMANDS", "EVENTS", "TIMERS")
        for subject in await broker.subjects(stream)
    ]
    assert {subject.key for subject in stored} == keys | {"s-1"}
    assert [subject for subject in stored if subject.partition != partition_of(subject.key, TOPOLOGY.partitions)] == []


async def test_a_flood_is_refused_and_pushes_nothing_out(broker: Broker) -> None:
    await broker.apply(declared_with("COMMANDS", max_msgs=2))
    await broker.publish("cmd.street.OpenKiosk.s-1")
    await broker.publish("cmd.street.OpenKiosk.s-2")
    with pytest.raises(nats.js.errors.APIError) as refused:
        await broker.publish("cmd.street.OpenKiosk.s-3")
    assert refused.value.err_code == 10077
    assert len(await broker.subjects("COMMANDS")) == 2


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


async def test_a_consumer_of_answered_commands_can_be_reset_to_the_beginning(broker: Broker) -> None:
    await broker.apply(declare(replace(TOPOLOGY, partitions=1), (STREET,)))
    for number in range(4):
        await broker.publish(f"cmd.street.OpenKiosk.s-{number}")
        await broker.publish(f"due.street.Closing.s-{number}")

    for stream, after_reset in (("COMMANDS", [3, 4]), ("TIMERS", [1, 2, 3, 4])):
        taken, replies = await pulled(broker, stream)
        assert taken == [1, 2, 3, 4]
        for reply in replies[:2]:
            await broker.request(reply, b"+ACK")
        await broker.api(f"CONSUMER.RESET.{stream}.street-0", {"seq": 1})
        assert (await pulled(broker, stream))[0] == after_reset


async def test_the_servers_refusal_is_told_with_its_code(broker: Broker) -> None:
    await broker.api("STREAM.CREATE.ELSEWHERE", {"name": "ELSEWHERE", "subjects": ["dlq.>"]})
    with pytest.raises(BrokerRefusedError, match=r"STREAM\.CREATE\.DEAD_LETTERS: subjects overlap") as refused:
        await broker.apply(DECLARED)
    assert refused.value.code == 10065
