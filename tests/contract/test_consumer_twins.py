"""Consumers of JetStream and of its twin in memory deliver, pin, reset and expire in the same way."""

import anyio
import pytest

from shared.ports.broker import Broker, BrokerRefusedError
from tests.contract.brokers import (
    A_WHILE_S,
    HERE,
    REQUESTS_AT_MOST,
    THERE,
    TILL,
    BrokerServer,
    Receiver,
    has_messages,
    is_free,
    ring,
    scanned,
)
from tests.waiting import WITHIN_S, until, until_answer


async def test_consumer_delivers_its_partition_in_order(broker: Broker) -> None:
    for number in range(3):
        await broker.publish(scanned(HERE[number], f"here-{number}", b'{"n":%d}' % number, X_Y="z"))
        await broker.publish(scanned(THERE[number], f"there-{number}"))
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(10)
    received = await receiver.receives(3)
    assert [(d.sequence, d.consumer_sequence, d.pending) for d in received] == [(1, 1, 2), (3, 2, 1), (5, 3, 0)]
    assert [d.body for d in received] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
    assert received[1].subject == f"evt.scanner.GoodsScanned.0.{HERE[1]}"
    assert (received[1].headers["Nats-Msg-Id"], received[1].headers["X-Y"]) == ("here-1", "z")
    stored = await broker.get("EVENTS", 3)
    assert stored is not None
    assert stored.at == received[1].at
    info = await broker.consumer_info("EVENTS", TILL)
    assert info == (3, 5, 0, 0, True)


async def test_waiting_request_gets_a_later_message(broker: Broker) -> None:
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(2)
    for number in range(3):
        await broker.publish(scanned(HERE[number]))
    assert [delivery.sequence for delivery in await receiver.receives(2)] == [1, 2]
    await receiver.pull(1, receiver.pin)
    assert [delivery.sequence for delivery in await receiver.receives(3)] == [1, 2, 3]


async def test_first_client_to_get_a_message_has_the_pin_and_others_wait(server: BrokerServer, broker: Broker) -> None:
    first, second = (
        await Receiver.open(broker, "EVENTS", TILL),
        await Receiver.open(await server.connect(), "EVENTS", TILL),
    )
    await first.pull(1)
    await broker.stream_info("EVENTS")
    await second.pull(1, beat_s=0.1)
    await broker.publish(scanned(HERE[0]))
    await first.receives(1)
    await broker.publish(scanned(HERE[1]))
    await first.pull(2, first.pin)
    await first.receives(2)
    await until(lambda: any(status.code == 100 for status in second.statuses))
    assert second.deliveries == []
    assert set(first.pins) == {first.pin}


async def test_request_with_a_wrong_pin_is_refused_while_another_client_has_the_pin(broker: Broker) -> None:
    await broker.publish(scanned(HERE[0]))
    receiver, stranger = await Receiver.open(broker, "EVENTS", TILL), await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(1)
    await receiver.receives(1)
    await stranger.pull(1, "no-such-pin")
    assert (await stranger.gets_statuses(423)).description == "Nats-Pin-Id mismatch"


async def test_pin_expires_unless_it_is_kept_alive(server: BrokerServer, broker: Broker) -> None:
    first, second = (
        await Receiver.open(broker, "EVENTS", TILL),
        await Receiver.open(await server.connect(), "EVENTS", TILL),
    )
    await broker.publish(scanned(HERE[0]))
    await first.pull(2)
    await first.receives(1)
    await second.pull(1)
    for _ in range(6):
        await anyio.sleep(0.1)
        await first.epoch.keep_alive(first.pin)
    await first.gets_statuses(*[404] * 6)
    assert (await broker.consumer_info("EVENTS", TILL)).pinned
    await until_answer(lambda: is_free(broker))
    assert second.deliveries == []
    await broker.publish(scanned(HERE[1]))
    (delivery,) = await second.receives(1)
    assert (delivery.sequence, delivery.consumer_sequence) == (2, 2)
    assert second.pin != first.pin
    told = await first.gets_statuses(*[404] * 6, 423)
    assert (told.description, told.headers["Nats-Pending-Messages"]) == ("Nats-Wrong-Pin-Id", "1")


async def test_keep_alive_delivers_a_message_that_is_ready(broker: Broker) -> None:
    await broker.publish_batch([scanned(HERE[0]), scanned(HERE[1])])
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(1)
    await receiver.receives(1)
    await receiver.epoch.keep_alive(receiver.pin)
    assert [delivery.sequence for delivery in await receiver.receives(2)] == [1, 2]
    await receiver.epoch.keep_alive(receiver.pin)
    assert (await receiver.gets_statuses(404)).description == "No Messages"


async def test_unpinned_consumer_serves_the_next_client_at_once(server: BrokerServer, broker: Broker) -> None:
    await broker.publish_batch([scanned(HERE[0]), scanned(HERE[1])])
    first, second = (
        await Receiver.open(broker, "EVENTS", TILL),
        await Receiver.open(await server.connect(), "EVENTS", TILL),
    )
    await first.pull(1)
    await first.receives(1)
    await second.pull(1)
    await anyio.sleep(A_WHILE_S)
    assert second.deliveries == []
    await broker.unpin("EVENTS", TILL)
    assert [delivery.sequence for delivery in await second.receives(1)] == [2]
    await broker.unpin("EVENTS", TILL)
    assert not (await broker.consumer_info("EVENTS", TILL)).pinned


async def test_reset_redelivers_to_a_waiting_request_and_keeps_the_pin(broker: Broker) -> None:
    await broker.publish_batch([scanned(key) for key in HERE[:3]])
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(10)
    await receiver.receives(3)
    await broker.reset("EVENTS", TILL, 2)
    again = (await receiver.receives(5))[3:]
    assert [(d.sequence, d.consumer_sequence) for d in again] == [(2, 1), (3, 2)]
    assert len(set(receiver.pins)) == 1


async def test_reset_ahead_skips_messages_silently(broker: Broker) -> None:
    await broker.publish_batch([scanned(key) for key in HERE[:3]])
    await broker.reset("EVENTS", TILL, 3)
    assert await broker.consumer_info("EVENTS", TILL) == (0, 2, 1, 0, False)
    await broker.reset("EVENTS", TILL, 10)
    assert await broker.consumer_info("EVENTS", TILL) == (0, 9, 0, 0, False)


async def test_acknowledged_command_leaves_its_stream(broker: Broker) -> None:
    await broker.publish(ring(HERE[0], "id-1"))
    await broker.publish(ring(HERE[1]))
    receiver = await Receiver.open(broker, "COMMANDS", TILL)
    await receiver.pull(1)
    (delivery,) = await receiver.receives(1)
    assert (await broker.consumer_info("COMMANDS", TILL)).unacknowledged == 1
    await broker.acknowledge([delivery.reply])
    await until_answer(lambda: has_messages(broker, "COMMANDS", 1))
    info = await broker.stream_info("COMMANDS")
    assert (info.first_sequence, info.last_sequence) == (2, 2)
    assert await broker.get("COMMANDS", 1) is None
    assert (await broker.publish(ring(HERE[0], "id-1"))).duplicate
    await broker.acknowledge([delivery.reply.replace(".1.1.1.", ".1.2.2.")])
    await anyio.sleep(A_WHILE_S)
    assert (await broker.stream_info("COMMANDS")).messages == 1


async def test_unacknowledged_command_is_redelivered(broker: Broker) -> None:
    await broker.publish(ring(HERE[0]))
    await broker.publish(ring(HERE[1]))
    receiver = await Receiver.open(broker, "COMMANDS", TILL)
    await receiver.pull(10)
    first, _ = await receiver.receives(2)
    await broker.acknowledge([first.reply])
    while len(receiver.deliveries) < 3:
        await receiver.epoch.keep_alive(receiver.pin)
        await anyio.sleep(0.05)
    again = receiver.deliveries[2]
    assert (again.sequence, again.consumer_sequence) == (2, 3)


async def test_reset_of_a_work_queue_redelivers_all_remaining_messages(broker: Broker) -> None:
    for key in HERE[:3]:
        await broker.publish(ring(key))
    receiver = await Receiver.open(broker, "COMMANDS", TILL)
    await receiver.pull(10)
    await broker.acknowledge([(await receiver.receives(3))[1].reply])
    await until_answer(lambda: has_messages(broker, "COMMANDS", 2))
    await broker.reset("COMMANDS", TILL, 1)
    again = (await receiver.receives(5))[3:]
    assert [(d.sequence, d.consumer_sequence) for d in again] == [(1, 1), (3, 2)]
    assert (await broker.consumer_info("COMMANDS", TILL)).unacknowledged == 2


async def test_request_expires(broker: Broker) -> None:
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(7, expires_s=0.5, beat_s=0.2)
    await until(lambda: bool(receiver.statuses) and receiver.statuses[-1].code == 408)
    assert {status.code for status in receiver.statuses} == {100, 408}
    assert receiver.statuses[-1].headers["Nats-Pending-Messages"] == "7"


async def test_requests_beyond_the_bound_are_dropped_silently(broker: Broker) -> None:
    receivers = [await Receiver.open(broker, "EVENTS", TILL) for _ in range(REQUESTS_AT_MOST + 1)]
    for receiver in receivers:
        await receiver.pull(1, expires_s=0.5, beat_s=0.2)
        await broker.stream_info("EVENTS")
    *served, dropped = receivers
    await until(lambda: all(receiver.statuses and receiver.statuses[-1].code == 408 for receiver in served))
    assert dropped.statuses == []


async def test_closed_epoch_receives_nothing(broker: Broker) -> None:
    over, now = await Receiver.open(broker, "EVENTS", TILL), await Receiver.open(broker, "EVENTS", TILL)
    await over.pull(10)
    await over.epoch.close()
    await now.pull(10)
    await broker.publish(scanned(HERE[0]))
    await now.receives(1)
    assert (over.deliveries, over.statuses) == ([], [])


async def test_waiting_request_learns_that_the_consumer_was_deleted(server: BrokerServer, broker: Broker) -> None:
    receiver = await Receiver.open(broker, "EVENTS", TILL)
    await receiver.pull(1)
    await broker.stream_info("EVENTS")
    await server.delete_consumer("EVENTS", TILL)
    assert (await receiver.gets_statuses(409)).description == "Consumer Deleted"
    await receiver.pull(1)
    await receiver.gets_statuses(409, 503)
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.consumer_info("EVENTS", TILL)
    assert refused.value.code == 10014
    with pytest.raises(BrokerRefusedError) as refused:
        await broker.unpin("EVENTS", TILL)
    assert refused.value.code == 10014
    with anyio.fail_after(WITHIN_S), pytest.raises(BrokerRefusedError) as refused:
        await broker.reset("EVENTS", TILL, 1)
    assert (refused.value.code, refused.value.subject) == (10014, f"EVENTS/{TILL}")
