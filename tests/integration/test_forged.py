"""A worker answers or parks forged messages, and the server refuses those that would order it to act."""

import asyncio
import json
from collections.abc import AsyncIterator

import anyio
import nats
import pytest
import pytest_asyncio

from shared.derived.topology import PRIORITY_GROUP
from shared.ports.broker import BrokerRefusedError
from shared.run.server import local_server
from shared.wire.messages import content_hash, partition_of
from shared.wire.streams import COMMANDS, EVENTS
from tests.integration.engine import PARTITIONS, Counter, rejection, running, standing, until_idle
from tests.integration.keys import NEIGHBOUR, STRANGER
from tests.integration.wire import Wire, header_block, wire
from tests.waiting import until

RING_5 = b'{"amount": 5}'
FORGED = {
    "a status": (b"%s", header_block(Status="503", Description="No Responders")),
    "a status that is no number": (b"%s", header_block(Status="many")),
    "a lost pin": (b"%s", header_block(Status="423")),
    "a status line": (b"%s", b"NATS/1.0 409 Leadership Change\r\n\r\n"),
    "a status line of bytes": (b"%s", b"NATS/1.0 \xff\xff\xff\r\n\r\n"),
    "no header block at all": (b"%s", b"abc"),
    "an empty header block": (b"%s", b"NATS/1.0\r\n\r\n"),
    "a pin": (b"%s", header_block(Nats_Pin_Id="mine")),
    "a place in a stream": (b"%s", header_block(Nats_Sequence="99", Nats_Subject="x", Nats_Time_Stamp="?")),
    "an id of bytes": (b"%s", b"NATS/1.0\r\nNats-Msg-Id: \xff\xfe\r\n\r\n"),
    "a key that is not UTF-8": (b"\xff%s", None),
    "a key with a vertical tab": (b"a\x0b%s", None),
    "a key with a form feed": (b"a\x0c%s", None),
    "a key with NUL": (b"a\x00%s", None),
    "the key of all": (b"*", None),
    "the key of all that follows": (b">", None),
    "a key without end": (b"%s" + b"k" * 2_000, None),
}
REFUSED_AT_THE_DOOR = {
    "a schedule": (
        header_block(Nats_Schedule="@at 2030-01-01T00:00:00Z", Nats_Schedule_Target="evt.till.Rung.x"),
        10188,
    ),
    "a time to live": (header_block(Nats_TTL="1s"), 10166),
    "a rollup": (header_block(Nats_Rollup="all"), 10111),
    "a batch": (header_block(Nats_Batch_Id="b", Nats_Batch_Sequence="1"), 10174),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Counter, Wire]]:
    """A counter with a worker behind it, and a wire to say what one likes."""
    directory = tmp_path_factory.mktemp("wire")
    over = anyio.Event()

    async def work(counter: Counter) -> None:
        async with running(counter):
            await over.wait()

    async with (
        local_server(directory / "nats") as server,
        standing(server.url, directory) as counter,
        wire(server.url) as hand,
    ):
        worker = asyncio.create_task(work(counter))
        yield counter, hand
        over.set()
        await worker


@pytest.mark.asyncio(loop_scope="module")
class TestForged:
    """A message that no client library would send neither stops the worker nor stays in the stream."""

    @pytest.mark.parametrize(("key", "headers"), FORGED.values(), ids=FORGED.keys())
    async def test_command_is_answered_and_its_neighbours_go_on(
        self, open_wire: tuple[Counter, Wire], key: bytes, headers: bytes | None, request: pytest.FixtureRequest
    ) -> None:
        counter, hand = open_wire
        own = f"f-{content_hash(request.node.name.encode()).hex()}"
        heard = len(counter.watcher.facts)
        said = await hand.publish(b"cmd.till.Ring." + key.replace(b"%s", own.encode()), RING_5, headers)
        assert said["stream"] == COMMANDS, said
        for neighbour in (NEIGHBOUR, STRANGER):
            before = counter.watcher.types(neighbour)["Rung"]
            await counter.ring(neighbour, 1)
            await counter.watcher.until(neighbour, "Rung", times=before + 1)
        await until(lambda: any(fact.key in (own, "unkeyed") for fact in counter.watcher.facts[heard:]))
        answer = next(fact for fact in counter.watcher.facts[heard:] if fact.key in (own, "unkeyed"))
        assert answer.type == ("Rung" if key == b"%s" and b"Nats-Msg-Id" not in (headers or b"") else "CommandRejected")
        if answer.type == "CommandRejected":
            assert answer.content["details"][0]["path"] in ("subject", "Nats-Msg-Id")
        await until_idle(counter)

    @pytest.mark.parametrize(("headers", "code"), REFUSED_AT_THE_DOOR.values(), ids=REFUSED_AT_THE_DOOR.keys())
    async def test_order_to_the_server_is_refused_at_the_door(
        self, open_wire: tuple[Counter, Wire], headers: bytes, code: int
    ) -> None:
        _, hand = open_wire
        assert (await hand.publish(b"cmd.till.Ring.t-1", RING_5, headers))["error"]["err_code"] == code

    @pytest.mark.parametrize("status", [b"NATS/1.0\r\nStatus: 204\r\n\r\n", b"NATS/1.0 404 Not Found\r\n\r\n"])
    async def test_event_that_says_it_is_the_end_is_not(self, open_wire: tuple[Counter, Wire], status: bytes) -> None:
        counter, hand = open_wire
        body = b'{"till_id": "%s", "amount": 3}' % NEIGHBOUR.encode()
        place = (await hand.publish(b"evt.scanner.GoodsScanned.%s" % NEIGHBOUR.encode(), body, status))["seq"]
        await counter.ring(NEIGHBOUR, 4)
        last = (await counter.broker.stream_info(EVENTS)).last_sequence
        read = [stored.sequence async for stored in counter.broker.read(EVENTS, "evt.>", first=place, up_to=last)]
        assert read == list(range(place, last + 1))
        stored = await counter.broker.get(EVENTS, place)
        assert stored is not None
        assert stored.body == body

    async def test_message_larger_than_the_server_takes_is_refused_for_good(
        self, open_wire: tuple[Counter, Wire]
    ) -> None:
        counter, _ = open_wire
        with pytest.raises(BrokerRefusedError, match="max_payload"):
            await counter.publish("cmd.till.Ring.t-1", b" " * (2**20 + 1))


async def test_stored_command_that_a_reader_has_delivered_under_another_key_is_rejected(counter: Counter) -> None:
    """The server publishes the answer to a direct get to any reply subject, whatever its asker may publish."""
    await counter.publish("cmd.till.Ring.k-1", RING_5)
    client = await nats.connect(counter.url)
    await client.publish("$JS.API.DIRECT.GET.COMMANDS", b'{"seq": 1}', reply="cmd.till.Ring.k-2")
    await client.close()
    async with running(counter):
        assert rejection(await counter.watcher.until("k-2", "CommandRejected")) == ("malformed", ["Chorus-Relayed"])
        await counter.watcher.until("k-1", "Rung")


NO_END = b"Cut: here"
"""The server replaces the last two bytes of a header block by the line that it adds."""


@pytest.mark.parametrize("ends", [b"\r\n", NO_END], ids=["a header block", "a header block without an end"])
async def test_message_in_the_form_of_an_event_that_a_context_has_delivered_as_one_is_a_stranger_s(
    counter: Counter, ends: bytes
) -> None:
    """A context may read its own message, and the server stores the answer to a direct get under its reply subject.

    A message that a consumer delivers into a stream keeps its own subject.
    """
    said = {"Correlation_Id": STRANGER, "Causation_Id": "c", "Causation_Depth": "0", "Schema_Version": "1"}
    said["Occurred_At"] = "2026-11-28T12:00:00Z"
    forged, target = b'{"till_id": "%s", "amount": 5}' % STRANGER.encode(), f"evt.scanner.GoodsScanned.{STRANGER}"
    consumer = f"till-{partition_of(STRANGER, PARTITIONS)}"
    pull = json.dumps({"batch": 1, "expires": 10**10, "group": PRIORITY_GROUP}).encode()
    client = await nats.connect(counter.url)
    async with wire(counter.url) as hand:
        for version, own in enumerate((f"dlq.till.Some.{STRANGER}", f"cmd.till.Ring.{STRANGER}"), 1):
            block = header_block(**said, Nats_Msg_Id=f"scanner/scan-{STRANGER}@{version}")
            assert (await hand.publish(own.encode(), forged, block.removesuffix(b"\r\n") + ends))["seq"] == 1
    await client.publish("$JS.API.DIRECT.GET.DEAD_LETTERS", b'{"seq": 1}', reply=target)
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.COMMANDS.{consumer}", pull, reply=target)
    await counter.watcher.until(STRANGER, "GoodsScanned")
    await client.close()
    async with running(counter):
        await counter.scan(STRANGER, 1, f"scanner/scan-{STRANGER}@3")
        await counter.watcher.until(STRANGER, "Rung")
        assert counter.totals(STRANGER) == [1]
        assert counter.rows("SELECT count(*) FROM strangers") == [(1,)]
