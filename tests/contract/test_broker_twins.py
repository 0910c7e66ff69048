"""The broker contract: one suite that JetStream and its twin in memory both pass."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.virtual_time import BEGINNING, virtual_loop
from shared.context import Answer, Request
from shared.ports.broker import Broker, BrokerRefusedError, BrokerUnavailableError, Outgoing, Published, Stored
from shared.wire.messages import rfc3339
from tests.contract.brokers import (
    FULL,
    HERE,
    PARTITIONS,
    THERE,
    TILL,
    BrokerServer,
    Receiver,
    has_messages,
    ring,
    scanned,
    tills,
)
from tests.waiting import until_answer

TOO_LARGE = b"x" * (64 * 1024 + 1)


async def test_server_inserts_the_partition_into_the_subject(broker: Broker) -> None:
    for sequence, key in enumerate((HERE[0], THERE[0]), 1):
        assert await broker.publish(scanned(key)) == Published("EVENTS", sequence, False)
    assert [stored.subject for stored in await read(broker, "EVENTS", ">")] == [
        f"evt.scanner.GoodsScanned.0.{HERE[0]}",
        f"evt.scanner.GoodsScanned.1.{THERE[0]}",
    ]


@pytest.mark.parametrize("subject", ["nowhere.at.all", "evt.scanner.GoodsScanned.0.k-1", "cmd.till.Rong.k-1"])
async def test_publication_to_a_subject_of_no_stream_is_refused(broker: Broker, subject: str) -> None:
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await broker.publish(Outgoing(subject, {}, b"{}"))
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await broker.publish_batch([Outgoing(subject, {}, b"{}")] * 2)


async def test_message_that_is_too_large_is_refused_even_if_its_id_is_known(broker: Broker) -> None:
    await broker.publish(ring("k-1", "id-1"))
    for message_id in ("id-1", "id-2"):
        with pytest.raises(BrokerRefusedError) as refused:
            await broker.publish(ring("k-1", message_id, TOO_LARGE))
        assert refused.value.code == 10054


async def test_subject_that_would_end_the_connection_is_refused(broker: Broker) -> None:
    for publish in (broker.publish, lambda message: broker.publish_batch([message, message])):
        with pytest.raises(BrokerRefusedError, match="subject is longer than"):
            await publish(scanned("k" * 5_000))
    assert (await broker.publish(scanned("k-1"))).sequence == 1


async def test_full_work_queue_refuses_new_messages_and_reports_duplicates(broker: Broker) -> None:
    for number in range(FULL):
        await broker.publish(ring("k-1", f"id-{number}"))
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.publish(ring("k-1", "one-too-many"))
    assert refused.value.code == 10077
    assert await broker.publish(ring("k-1", "id-1")) == Published("COMMANDS", 2, True)


async def test_known_id_is_a_duplicate_with_any_content_and_on_any_subject(broker: Broker) -> None:
    await broker.publish(scanned(HERE[0], "id-1", b'{"amount":1}'))
    assert await broker.publish(scanned(THERE[0], "id-1", b'{"amount":2}')) == Published("EVENTS", 1, True)
    assert (await broker.stream_info("EVENTS")).messages == 1
    assert await broker.publish(ring("k-1", "id-1")) == Published("COMMANDS", 1, False)


async def test_id_expires_after_the_duplicate_window(server: BrokerServer, broker: Broker) -> None:
    await server.apply(tills(remembers=timedelta(milliseconds=300)))
    await broker.publish(scanned("k-1", "id-1"))

    async def stored_again() -> bool:
        return not (await broker.publish(scanned("k-1", "id-1"))).duplicate

    await until_answer(stored_again)
    assert (await broker.stream_info("EVENTS")).last_sequence == 2


async def test_concurrent_publications_have_an_answer_each(broker: Broker) -> None:
    await broker.publish(scanned("k-1", "known"))
    answers = await broker.publish_each(
        [
            scanned("k-1", "new"),
            scanned("k-2", "known"),
            ring("k-1", "large", TOO_LARGE),
            Outgoing("nowhere.at.all", {}, b""),
            ring("k-1", "id-1"),
        ]
    )
    stored, again, too_large, nowhere, elsewhere = answers
    assert stored == Published("EVENTS", 2, False)
    assert again == Published("EVENTS", 1, True)
    assert isinstance(too_large, BrokerRefusedError)
    assert too_large.code == 10054
    assert isinstance(nowhere, BrokerUnavailableError)
    assert elsewhere == Published("COMMANDS", 1, False)


async def test_batch_is_stored_as_a_whole_and_in_order(broker: Broker) -> None:
    await broker.publish(scanned("k-1", "id-0"))
    assert await broker.publish_batch([scanned("k-1", "id-1"), scanned("k-2", "id-2"), scanned("k-3")]) == 4
    assert [stored.headers.get("Nats-Msg-Id") for stored in await read(broker, "EVENTS", ">")] == [
        *("id-0", "id-1", "id-2"),
        None,
    ]
    assert await broker.publish(scanned("k-2", "id-2")) == Published("EVENTS", 3, True)


BATCHES: Mapping[str, tuple[int, Callable[[], list[Outgoing]]]] = {
    "an id is known": (10201, lambda: [scanned("k-1", "new"), scanned("k-2", "known")]),
    "an id stands twice": (10201, lambda: [scanned("k-1", "new"), scanned("k-2", "new")]),
    "it is too long": (10199, lambda: [scanned("k-1", f"id-{n}") for n in range(1001)]),
    "the stream has no batches": (10174, lambda: [ring("k-1"), ring("k-2")]),
    "it goes to two streams": (10176, lambda: [Outgoing("dlq.till.Ring.k-1", {}, b""), scanned("k-1", "new")]),
    "two timers are one": (10111, lambda: [timer("k-1", 60.0, "t-1"), timer("k-1", 60.0, "t-2")]),
}


@pytest.mark.parametrize("why", BATCHES)
async def test_batch_is_refused_as_a_whole(broker: Broker, why: str) -> None:
    code, batch = BATCHES[why]
    await broker.publish(scanned("k-1", "known"))
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.publish_batch(batch())
    assert refused.value.code == code
    for stream in ("EVENTS", "TIMERS", "COMMANDS", "DEAD_LETTERS"):
        assert (await broker.stream_info(stream)).messages == (1 if stream == "EVENTS" else 0)
    assert not (await broker.publish(scanned("k-1", "new"))).duplicate


async def test_recreated_stream_has_another_creation_time_and_begins_at_1(server: BrokerServer, broker: Broker) -> None:
    await broker.publish_batch([scanned("k-1", "id-1"), scanned("k-1", "id-2")])
    before = await broker.stream_info("EVENTS")
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(10)
    await broker.stream_info("EVENTS")
    await server.delete_stream("EVENTS")
    await receiver.gets_statuses(409)
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.stream_info("EVENTS")
    assert refused.value.code == 10059
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await broker.publish(scanned("k-1"))
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await broker.get("EVENTS", 1)
    await server.apply(tills())
    after = await broker.stream_info("EVENTS")
    assert after.created != before.created
    assert (after.first_sequence, after.last_sequence, after.messages) == (0, 0, 0)
    assert after.metadata["chorus.partitions"] == str(PARTITIONS)
    assert await broker.publish(scanned("k-1", "id-1")) == Published("EVENTS", 1, False)


async def test_due_timer_is_published_to_its_target_and_removed(broker: Broker) -> None:
    message = timer(HERE[0], 0.3, "t-1", b'{"n":1}', Timer_Id="t-1")
    assert await broker.publish(message) == Published("TIMERS", 1, False)
    receiver = await Receiver.open(broker, "TIMERS", TILL)
    await receiver.pull(1)
    (due,) = await receiver.receives(1)
    assert (due.sequence, due.subject, due.body) == (2, f"due.till.ClosingTime.0.{HERE[0]}", b'{"n":1}')
    assert {name: value for name, value in due.headers.items() if name != "Nats-Pin-Id"} == {
        "Timer-Id": "t-1",
        "Nats-Scheduler": f"timer.till.ClosingTime.{HERE[0]}",
        "Nats-Schedule-Next": "purge",
        "Nats-TTL": "720h",
    }
    assert await broker.get("TIMERS", 1) is None
    assert (await broker.publish(message)).duplicate


async def test_later_timer_of_a_subject_replaces_the_earlier(broker: Broker) -> None:
    await broker.publish(timer(HERE[0], 0.2, "t-1", b"1"))
    await broker.publish(timer(HERE[0], 0.3, "t-2", b"2"))
    await broker.publish(timer(HERE[1], 0.1, "t-3", b"3"))
    assert (await broker.stream_info("TIMERS")).messages == 2
    receiver = await Receiver.open(broker, "TIMERS", TILL)
    await receiver.pull(10)
    assert [delivery.body for delivery in await receiver.receives(2)] == [b"3", b"2"]
    assert await read(broker, "TIMERS", "timer.>") == []


async def test_timer_does_not_fire_once_another_message_is_under_its_subject(broker: Broker) -> None:
    await broker.publish(timer(HERE[0], 0.2, "t-1", b"1"))
    await broker.publish(Outgoing(f"timer.till.ClosingTime.{HERE[0]}", {}, b"{}"))
    await broker.publish(timer(HERE[1], 0.3, "t-2", b"2"))
    receiver = await Receiver.open(broker, "TIMERS", TILL)
    await receiver.pull(10)
    assert [delivery.body for delivery in await receiver.receives(1)] == [b"2"]
    assert [stored.body for stored in await read(broker, "TIMERS", "timer.>")] == [b"1", b"{}"]


async def test_overdue_timer_fires_at_once_and_timers_can_be_batched(broker: Broker) -> None:
    await broker.publish_batch([timer(HERE[0], -60.0, "t-1"), timer(HERE[1], 0.2, "t-2")])
    receiver = await Receiver.open(broker, "TIMERS", TILL)
    await receiver.pull(10)
    received = await receiver.receives(2)
    assert [delivery.subject.rpartition(".")[2] for delivery in received] == HERE[:2]


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (10189, {"Nats_Schedule": "soon"}),
        (10190, {"Nats_Schedule_Target": "evt.till.Rung.k-1"}),
        (10190, {"Nats_Schedule_Target": "due.till.ClosingTime.0.k-1"}),
        (10190, {"Nats_Schedule_Target": "timer.till.ClosingTime.k-1"}),
        (10191, {"Nats_Schedule_TTL": "soon"}),
        (10165, {"Nats_TTL": "10ms"}),
    ],
)
async def test_malformed_timer_is_refused(broker: Broker, code: int, headers: dict[str, str]) -> None:
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.publish(timer("k-1", 60.0, "t-1", b"{}", **headers))
    assert refused.value.code == code


@pytest.mark.parametrize(("code", "header"), [(10166, "Nats_TTL"), (10188, "Nats_Schedule")])
async def test_events_stream_refuses_ttl_and_schedule(broker: Broker, code: int, header: str) -> None:
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.publish(scanned("k-1", None, b"{}", **{header: "10s"}))
    assert refused.value.code == code


async def test_message_with_a_ttl_expires(broker: Broker) -> None:
    short = await broker.publish(Outgoing(f"due.till.Notice.{HERE[0]}", {"Nats-TTL": "1s"}, b"{}"))
    long = await broker.publish(Outgoing(f"due.till.Notice.{HERE[0]}", {"Nats-TTL": "720h"}, b"{}"))
    assert long.sequence == short.sequence + 1
    await until_answer(lambda: has_messages(broker, "TIMERS", 1))
    assert (await broker.consumer_info("TIMERS", TILL)).pending == 1


async def test_read_returns_matching_messages_between_two_sequences(broker: Broker) -> None:
    await broker.publish_batch([scanned(key, f"{n}-{key}") for n in range(3) for key in ("k-1", "k-2")])
    assert [s.sequence for s in await read(broker, "EVENTS", "evt.*.*.*.k-1")] == [1, 3, 5]
    assert [s.sequence for s in await read(broker, "EVENTS", "evt.*.*.*.k-1", first=2)] == [3, 5]
    assert [s.sequence for s in await read(broker, "EVENTS", "evt.>", first=2, up_to=4)] == [2, 3, 4]
    assert await read(broker, "EVENTS", "evt.*.*.*.k-3") == []
    (last,) = await read(broker, "EVENTS", "evt.>", first=6)
    assert last.headers["Nats-Msg-Id"] == "2-k-2"
    assert (last.headers["Nats-Stream"], last.headers["Nats-Sequence"]) == ("EVENTS", "6")
    assert await broker.get("EVENTS", 7) is None


async def test_read_returns_more_than_one_page(broker: Broker) -> None:
    for page in range(3):
        await broker.publish_batch([scanned("k-1", f"{page}-{n}") for n in range(500)])
    assert [stored.sequence for stored in await read(broker, "EVENTS", "evt.>")] == list(range(1, 1501))


async def test_service_answers_with_a_body_an_error_or_not_at_all(server: BrokerServer, broker: Broker) -> None:
    async def echo(request: Request) -> Answer | None:
        if request.body == b"wrong":
            return Answer(body=b"details", error=("400", "that is wrong"))
        told = Answer(request.headers.get("X", "").encode() + request.body, headers={"Y": "louder"})
        return None if request.body == b"hush" else told

    host = await server.connect()
    stop = await host.serve("echo", "1.0.0", "An echo", {"svc.echo.say": echo})
    await host.stream_info("EVENTS")
    headers, body = await broker.request("svc.echo.say", b"hello", {"X": "oh-"}, 5.0)
    assert (headers.get("Nats-Service-Error-Code"), headers["Y"], body) == (None, "louder", b"oh-hello")
    headers, body = await broker.request("svc.echo.say", b"wrong", {}, 5.0)
    assert (headers["Nats-Service-Error-Code"], headers["Nats-Service-Error"]) == ("400", "that is wrong")
    assert body == b"details"
    with pytest.raises(BrokerUnavailableError):
        await broker.request("svc.echo.say", b"hush", {}, 0.2)
    await stop()
    await host.stream_info("EVENTS")
    with pytest.raises(BrokerUnavailableError, match="no responders"):
        await broker.request("svc.echo.say", b"hello", {"X": ""}, 5.0)


def timer(key: str, in_s: float, message_id: str, body: bytes = b"{}", **headers: str) -> Outgoing:
    """A message that sets a timer of the till."""
    given = {
        "Nats-Msg-Id": message_id,
        "Nats-Schedule": f"@at {rfc3339(now() + timedelta(seconds=in_s))}",
        "Nats-Schedule-Target": f"due.till.ClosingTime.{key}",
        "Nats-Schedule-TTL": "720h",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Outgoing(f"timer.till.ClosingTime.{key}", given, body)


def now() -> datetime:
    """The server's time."""
    loop = virtual_loop()
    return datetime.now(UTC) if loop is None else BEGINNING + timedelta(seconds=loop.time())


async def read(broker: Broker, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> list[Stored]:
    """Read all messages."""
    return [stored async for stored in broker.read(stream, subject, first=first, up_to=up_to)]
