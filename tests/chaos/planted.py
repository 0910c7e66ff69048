"""Plants one bug each in the evidence of a finished run, for the checker to find."""

from collections.abc import Callable

from contexts.kernel import Sku
from shared.wire.messages import CAUSATION_DEPTH, CAUSATION_ID, MSG_ID
from shared.wire.streams import COMMANDS, TIMERS
from tests.chaos.finding import Invariant
from tests.chaos.run import Run

PLANTED_SKU = Sku("planted")
PLANTED_WAIT = Sku("planted-wait")
"""Of this article there is too little: one order waits for it, and one was served."""
SHIPPED, REFUNDED, DECLINED = "o-planted-shipped", "o-planted-nowhere", "o-planted-poor"
LOST = "o-planted-parcel"
BASKET = "o-planted-basket"
SENT, WAITED_FOR = "o-planted-returned", "o-planted-returning"


def other_content_under_an_id(run: Run) -> None:
    original = run.events()[run.find(SHIPPED, "OrderConfirmed")]
    run.append(original._replace(body=original.body.replace(b"Bern", b"Rome")))


def inbox_heard_something_else(run: Run) -> None:
    run.change(
        "shipping", "UPDATE inbox SET hash = zeroblob(16) WHERE message_id LIKE ?", f"ordering/order-{SHIPPED}@2"
    )


def version_is_missing(run: Run) -> None:
    del run.events()[run.find(SHIPPED, "PaymentAuthorized")]


def versions_are_swapped(run: Run) -> None:
    events = run.events()
    first, second = run.find(SHIPPED, "CaptureRequested"), run.find(SHIPPED, "PaymentSucceeded")
    events[first], events[second] = (
        events[second]._replace(sequence=events[first].sequence),
        events[first]._replace(sequence=events[second].sequence),
    )


def order_is_cancelled_twice(run: Run) -> None:
    original = run.events()[run.find(DECLINED, "OrderCancelled")]
    run.append(original, Nats_Msg_Id=f"ordering/order-{DECLINED}@3")


def order_is_cancelled_and_keeps_its_money(run: Run) -> None:
    run.change("bank", "DELETE FROM journal WHERE type = 'CaptureRefunded' AND subject LIKE ?", f"%.pay-{REFUNDED}")


def unit_is_promised_twice(run: Run) -> None:
    run.change(
        "inventory",
        "UPDATE journal SET body = replace(body, '\"quantity\":2', '\"quantity\":1')"
        " WHERE type = 'InventoryReserved' AND subject LIKE ?",
        f"%.{SHIPPED}",
    )


def stock_level_is_below_what_is_reserved(run: Run) -> None:
    run.change(
        "inventory",
        'UPDATE journal SET body = \'{"sku":"planted","on_hand":1,"reserved":2,"available":-1}\''
        " WHERE n = (SELECT max(n) FROM journal WHERE type = 'StockLevelChanged')",
    )


def delivery_is_counted_twice(run: Run) -> None:
    run.change(
        "inventory",
        "INSERT INTO journal (event_id, aggregate, version, subject, type, headers, body, partition, published_seq)"
        " SELECT 'inventory/stock-planted@99', aggregate, 99, subject, type, headers, body, partition, published_seq"
        " FROM journal WHERE type = 'StockReplenished' AND subject LIKE '%.planted' LIMIT 1",
    )


def order_is_charged_twice(run: Run) -> None:
    run.change(
        "bank",
        "INSERT INTO journal (event_id, aggregate, version, subject, type, headers, body, partition, published_seq)"
        " SELECT 'bank/hold-planted@99', aggregate, 99, subject, type, headers, body, partition, published_seq"
        " FROM journal WHERE type = 'HoldCaptured' AND subject LIKE ?",
        f"%.pay-{SHIPPED}",
    )


def money_comes_from_nowhere(run: Run) -> None:
    run.change(
        "bank",
        "DELETE FROM journal WHERE n = (SELECT max(n) FROM journal WHERE type = 'MoneyTransferred')",
    )


def charge_has_a_second_key(run: Run) -> None:
    run.change(
        "bank",
        "INSERT INTO answers SELECT idempotency_key || '7', operation, request_hash, answer FROM answers"
        " WHERE operation = 'capture' AND idempotency_key LIKE ?",
        f"%{SHIPPED}@%",
    )


def parcel_leaves_twice(run: Run) -> None:
    original = run.events()[run.find(SHIPPED, "OrderShipped")]
    run.append(original, Nats_Msg_Id=f"shipping/shipment-{SHIPPED}@6")


def parcel_leaves_before_it_is_paid(run: Run) -> None:
    events, place = run.events(), run.find(SHIPPED, "DispatchRequested")
    long_ago = {**events[place].headers, "Occurred-At": "2020-01-01T00:00:00.000000Z"}
    events[place] = events[place]._replace(headers=long_ago)


def message_is_not_in_the_inbox(run: Run) -> None:
    run.change("payments", "DELETE FROM inbox WHERE message_id LIKE ?", f"inventory/reservation-{SHIPPED}@1")


def position_is_ahead(run: Run) -> None:
    run.change("payments", "DELETE FROM inbox WHERE message_id LIKE 'ordering/order-%'")


def database_is_open_to_others(run: Run) -> None:
    run.databases["payments"].chmod(0o644)


def journal_row_is_not_published(run: Run) -> None:
    del run.events()[run.find(SHIPPED, "StockCommitted")]


def mark_stands_before_the_publication(run: Run) -> None:
    run.change("ordering", "UPDATE journal SET published_seq = published_seq + 1000 WHERE type = 'ShipmentRecorded'")


def timer_is_not_armed(run: Run) -> None:
    timers = run.streams.messages[TIMERS]
    assert isinstance(timers, list)
    del timers[run.at(TIMERS, f"ordering/order-{SHIPPED}@1/OrderDeadline")]


def event_is_in_no_journal(run: Run) -> None:
    original = run.events()[run.find(SHIPPED, "OrderShipped")]
    subject = original.subject.replace(SHIPPED, "o-forged")
    body = original.body.replace(SHIPPED.encode(), b"o-forged")
    run.append(original._replace(subject=subject, body=body), Nats_Msg_Id="shipping/shipment-o-forged@1")


def event_has_an_unknown_cause(run: Run) -> None:
    events, place = run.events(), run.find(SHIPPED, "OrderConfirmed")
    events[place] = events[place]._replace(headers={**events[place].headers, CAUSATION_ID: "payments/nothing@1"})


def chain_of_causes_is_cut(run: Run) -> None:
    events, place = run.events(), run.find(SHIPPED, "OrderConfirmed")
    events[place] = events[place]._replace(headers={**events[place].headers, CAUSATION_DEPTH: "1"})


def command_waits_for_ever(run: Run) -> None:
    commands = run.streams.messages[COMMANDS]
    assert isinstance(commands, list)
    commands.append(run.events()[0]._replace(subject="cmd.ordering.CancelOrder.0.o-1", headers={MSG_ID: "c-1"}))


def decision_is_another(run: Run) -> None:
    """By the journal, which then also says something else than the stream."""
    statement = (
        "UPDATE journal SET body = replace(body, 'payment_failed', 'out_of_stock') WHERE type = 'OrderCancelled'"
    )
    run.change("ordering", f"{statement} AND subject LIKE ?", f"%.{DECLINED}")


def snapshot_is_not_the_fold(run: Run) -> None:
    run.change(
        "ordering",
        "UPDATE aggregates SET state = replace(state, 'SHIPPED', 'DELIVERED') WHERE id = ?",
        f"order-{SHIPPED}",
    )


def input_had_no_effect(run: Run) -> None:
    """The inbox has the message, and its event was never written."""
    event = "ShipmentRecorded"
    run.change("ordering", "DELETE FROM journal WHERE type = ? AND subject LIKE ?", event, f"%.{SHIPPED}")
    del run.events()[run.find(SHIPPED, event)]


def order_stays_open(run: Run) -> None:
    run.change(
        "ordering",
        "UPDATE aggregates SET state = replace(state, 'SHIPPED', 'CANCELLING') WHERE id = ?",
        f"order-{SHIPPED}",
    )


def reservation_is_never_released(run: Run) -> None:
    run.change(
        "inventory",
        "UPDATE aggregates SET state = replace(state, 'RELEASED', 'RESERVED') WHERE id = ?",
        f"reservation-{DECLINED}",
    )


def order_waits_for_units_that_are_there(run: Run) -> None:
    run.change(
        "inventory",
        "UPDATE aggregates SET state = json_set(state, '$.on_hand', 100) WHERE id = ?",
        f"stock-{PLANTED_WAIT}",
    )


def order_has_lost_its_place_in_the_queue(run: Run) -> None:
    run.change(
        "inventory",
        "UPDATE aggregates SET state = json_set(state, '$.waiting', json('[]')) WHERE id = ?",
        f"stock-{PLANTED_WAIT}",
    )


def letter_is_sent_twice(run: Run) -> None:
    original = next(
        stored
        for stored in run.events()
        if stored.subject.endswith(f".{SHIPPED}") and ".CustomerNotified." in stored.subject
    )
    version = 1 + sum(
        "notifications/" in stored.headers[MSG_ID] and SHIPPED in stored.subject for stored in run.events()
    )
    run.append(original, Nats_Msg_Id=f"notifications/notification-{SHIPPED}@{version}")


def return_is_not_refunded(run: Run) -> None:
    run.change("bank", "DELETE FROM journal WHERE subject = ?", f"evt.bank.CaptureRefunded.pay-{SENT}")


def more_comes_back_than_was_bought(run: Run) -> None:
    events, place = run.events(), run.find(SENT, "ReturnReceived")
    events[place] = events[place]._replace(body=events[place].body.replace(b'"quantity":1', b'"quantity":3'))


def returned_units_are_counted_twice(run: Run) -> None:
    run.change(
        "inventory",
        "UPDATE journal SET body = replace(body, '\"quantity\":1', '\"quantity\":2') WHERE type = 'StockReturned'",
    )


def return_waits_without_a_timer(run: Run) -> None:
    _disarm(run, f"timer.ordering.ReturnDeadline.{WAITED_FOR}")


def basket_is_open_without_a_timer(run: Run) -> None:
    _disarm(run, f"timer.ordering.BasketIdle.{BASKET}")


def _disarm(run: Run, subject: str) -> None:
    timers = run.streams.messages[TIMERS]
    assert isinstance(timers, list)
    (armed,) = (n for n, one in enumerate(timers) if one.subject == subject)
    del timers[armed]


def ticket_is_opened_twice(run: Run) -> None:
    original = run.events()[run.find(LOST, "TicketOpened")]
    run.append(original, Nats_Msg_Id=f"support/ticket-{LOST}.parcel_lost@4")


def effect_is_left(run: Run) -> None:
    run.change(
        "payments",
        "INSERT INTO effects (n, event_id, key, partition)"
        " SELECT n, event_id, 'o', partition FROM journal WHERE type = 'CaptureRequested' LIMIT 1",
    )


def message_is_parked(run: Run) -> None:
    run.change(
        "payments", "INSERT INTO parked VALUES (1, 'o', 0, 'EVENTS', 1, 1, 'x', 's', '{}', x'00', 'why', '', '', '')"
    )


def row_is_unpublished(run: Run) -> None:
    run.change("shipping", "UPDATE journal SET published_seq = NULL WHERE type = 'OrderShipped'")


def event_is_not_heard(run: Run) -> None:
    run.change("ordering", "UPDATE positions SET seq = 1 WHERE stream = 'EVENTS'")


PLANTED: tuple[tuple[Callable[[Run], None], Invariant], ...] = (
    (other_content_under_an_id, "I1"),
    (inbox_heard_something_else, "I1"),
    (version_is_missing, "I2"),
    (versions_are_swapped, "I2"),
    (order_is_cancelled_twice, "I3"),
    (order_is_cancelled_and_keeps_its_money, "I3"),
    (unit_is_promised_twice, "I4"),
    (stock_level_is_below_what_is_reserved, "I4"),
    (delivery_is_counted_twice, "I4"),
    (order_is_charged_twice, "I5"),
    (money_comes_from_nowhere, "I5"),
    (charge_has_a_second_key, "I5"),
    (parcel_leaves_twice, "I6"),
    (parcel_leaves_before_it_is_paid, "I6"),
    (message_is_not_in_the_inbox, "I7"),
    (position_is_ahead, "I7"),
    (database_is_open_to_others, "I8"),
    (journal_row_is_not_published, "I9"),
    (mark_stands_before_the_publication, "I9"),
    (timer_is_not_armed, "I9"),
    (event_is_in_no_journal, "I10"),
    (event_has_an_unknown_cause, "I11"),
    (chain_of_causes_is_cut, "I11"),
    (command_waits_for_ever, "I12"),
    (decision_is_another, "I13"),
    (snapshot_is_not_the_fold, "I13"),
    (input_had_no_effect, "I13"),
    (order_stays_open, "I14"),
    (reservation_is_never_released, "I15"),
    (order_waits_for_units_that_are_there, "I15"),
    (order_has_lost_its_place_in_the_queue, "I15"),
    (letter_is_sent_twice, "I16"),
    (return_is_not_refunded, "I5"),
    (more_comes_back_than_was_bought, "I4"),
    (returned_units_are_counted_twice, "I4"),
    (return_waits_without_a_timer, "I14"),
    (basket_is_open_without_a_timer, "I14"),
    (ticket_is_opened_twice, "I16"),
    (snapshot_is_not_the_fold, "I17"),
    (version_is_missing, "I17"),
    (effect_is_left, "I18"),
    (message_is_parked, "I18"),
    (row_is_unpublished, "I18"),
    (event_is_not_heard, "I18"),
)
