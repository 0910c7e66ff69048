"""The decisions of ordering: every command in every state, and the races that it judges."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, CancellationReason, CustomerId, Line, MethodToken, Money, OrderId, PaymentId, Sku
from contexts.ordering.commands import (
    CancelOrder,
    CancelPendingOrder,
    CancelUndeliverableOrder,
    ConfirmOrder,
    ExpireOrder,
    ExtendDeadline,
    FinishCancellation,
    OrderCommand,
    OrderLine,
    PlaceOrder,
    RecordDelivery,
    RecordShipment,
)
from contexts.ordering.events import (
    DeliveryRecorded,
    OrderCancellationRejected,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderDeadlineExtended,
    OrderEvent,
    OrderPlaced,
    PriceListed,
    PromotionCode,
    ShipmentRecorded,
    Status,
)
from contexts.ordering.order import Order, evolve
from contexts.ordering.order import decide as decide_in_a_shop
from contexts.ordering.policies import TIMERS, whenever_inventory_released_cancel_the_order
from contexts.ordering.price import ListedPrice
from contexts.ordering.promotion import Promotion
from contexts.ordering.upstream import InventoryReleased
from shared.context import Rejected
from tests.unit.ordering.listing import priced, promoted

ORDER = OrderId("o-42")
PAYMENT = PaymentId("pay-o-42")
ASKED_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ADDRESS = Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB")
LINES = (
    Line(sku=Sku("mug"), quantity=2, unit_price=Money(amount_minor=1250)),
    Line(sku=Sku("tea"), quantity=1, unit_price=Money(amount_minor=499)),
)
WANTED = (OrderLine(sku=Sku("mug"), quantity=2), OrderLine(sku=Sku("tea"), quantity=1))
PRICES = priced(
    PriceListed(sku=Sku("mug"), unit_price=Money(amount_minor=1250)),
    PriceListed(sku=Sku("tea"), unit_price=Money(amount_minor=499)),
    PriceListed(sku=Sku("pin"), unit_price=Money(amount_minor=1)),
    PriceListed(sku=Sku("house"), unit_price=Money(amount_minor=10**12)),
)

PLACE = PlaceOrder(
    order_id=ORDER,
    customer_id=CustomerId("c-7"),
    email="ada@shop.example",
    lines=WANTED,
    address=ADDRESS,
    method_token=MethodToken("tok_ok"),
    asked_at=ASKED_AT,
)
CANCEL = CancelOrder(order_id=ORDER, reason="found it cheaper")
CONFIRM = ConfirmOrder(order_id=ORDER, payment_id=PAYMENT)
PAYMENT_FAILED = CancelPendingOrder(order_id=ORDER, reason="payment_failed")
OUT_OF_STOCK = CancelPendingOrder(order_id=ORDER, reason="out_of_stock")
EXPIRE = ExpireOrder(order_id=ORDER, expires_at=ASKED_AT + timedelta(minutes=15))
EXTEND = ExtendDeadline(order_id=ORDER, backorder_expires_at=ASKED_AT + timedelta(hours=72))
EXPIRE_AT_LAST = ExpireOrder(order_id=ORDER, expires_at=ASKED_AT + timedelta(hours=72, minutes=15))
SHIPMENT_CANCELLED = FinishCancellation(order_id=ORDER)
SHIPMENT_FAILED = CancelUndeliverableOrder(order_id=ORDER)
SHIP = RecordShipment(order_id=ORDER, tracking_no="T-1", carrier="Post")
DELIVER = RecordDelivery(order_id=ORDER, tracking_no="T-1")

PLACED = OrderPlaced(
    order_id=ORDER,
    customer_id=CustomerId("c-7"),
    email="ada@shop.example",
    lines=LINES,
    total=Money(amount_minor=2999),
    address=ADDRESS,
    method_token=MethodToken("tok_ok"),
    allow_backorder=False,
    expires_at=datetime(2026, 11, 21, 9, 15, tzinfo=UTC),
)
EXTENDED = OrderDeadlineExtended(order_id=ORDER, expires_at=ASKED_AT + timedelta(hours=72, minutes=15))
CONFIRMED = OrderConfirmed(order_id=ORDER, payment_id=PAYMENT, address=ADDRESS)
REQUESTED = OrderCancellationRequested(order_id=ORDER, reason="found it cheaper")
SHIPPED = ShipmentRecorded(order_id=ORDER, tracking_no="T-1", carrier="Post")
DELIVERED = DeliveryRecorded(order_id=ORDER, tracking_no="T-1")


def cancelled(reason: CancellationReason, from_state: Status) -> OrderCancelled:
    return OrderCancelled(order_id=ORDER, reason=reason, from_state=from_state, lines=LINES)


def too_late(state: Status) -> OrderCancellationRejected:
    return OrderCancellationRejected(order_id=ORDER, reason="found it cheaper", state=state)


NO_SUCH_ORDER = Rejected.at("order_unknown", "$", "there is no such order; it was not placed")
STILL_TOO_LATE = Rejected.at("too_late_to_cancel", "$", "the order is SHIPPED")

HISTORIES: dict[str, tuple[OrderEvent, ...]] = {
    "unknown": (),
    "unknown_and_refused": (too_late("UNKNOWN"),),
    "pending": (PLACED,),
    "pending_after_a_refusal": (too_late("UNKNOWN"), PLACED),
    "waiting_for_stock": (PLACED, EXTENDED),
    "confirmed": (PLACED, CONFIRMED),
    "cancelling": (PLACED, CONFIRMED, REQUESTED),
    "shipped": (PLACED, CONFIRMED, SHIPPED),
    "shipped_and_refused": (PLACED, CONFIRMED, REQUESTED, SHIPPED, too_late("SHIPPED")),
    "delivered": (PLACED, CONFIRMED, SHIPPED, DELIVERED),
    "cancelled": (PLACED, cancelled("customer", "PENDING")),
}
COMMANDS: tuple[OrderCommand, ...] = (
    PLACE,
    CANCEL,
    CONFIRM,
    PAYMENT_FAILED,
    OUT_OF_STOCK,
    EXPIRE,
    EXPIRE_AT_LAST,
    EXTEND,
    SHIPMENT_CANCELLED,
    SHIPMENT_FAILED,
    SHIP,
    DELIVER,
)


def decide(
    command: OrderCommand,
    order: Order,
    *,
    prices: Mapping[Sku, ListedPrice] = PRICES,
    promotions: Mapping[PromotionCode, Promotion] = promoted(),
    require_actor: bool = False,
) -> tuple[OrderEvent | Rejected, ...]:
    return decide_in_a_shop(
        command,
        order,
        prices,
        promotions,
        order_deadline=timedelta(minutes=15),
        price_honoured=timedelta(minutes=15),
        currency="EUR",
        require_actor=require_actor,
    )


def after(*events: OrderEvent) -> Order:
    order = Order()
    for event in events:
        order = evolve(order, event)
    return order


ANSWERS: dict[tuple[str, OrderCommand], tuple[OrderEvent | Rejected, ...]] = {
    ("unknown", PLACE): (PLACED,),
    ("unknown_and_refused", PLACE): (PLACED,),
    ("unknown", CANCEL): (too_late("UNKNOWN"),),
    ("unknown_and_refused", CANCEL): (NO_SUCH_ORDER,),
    ("pending", CANCEL): (cancelled("customer", "PENDING"),),
    ("pending_after_a_refusal", CANCEL): (cancelled("customer", "PENDING"),),
    ("confirmed", CANCEL): (REQUESTED,),
    ("shipped", CANCEL): (too_late("SHIPPED"),),
    ("shipped_and_refused", CANCEL): (STILL_TOO_LATE,),
    ("delivered", CANCEL): (too_late("DELIVERED"),),
    ("pending", CONFIRM): (CONFIRMED,),
    ("pending_after_a_refusal", CONFIRM): (CONFIRMED,),
    ("pending", PAYMENT_FAILED): (cancelled("payment_failed", "PENDING"),),
    ("pending_after_a_refusal", PAYMENT_FAILED): (cancelled("payment_failed", "PENDING"),),
    ("pending", OUT_OF_STOCK): (cancelled("out_of_stock", "PENDING"),),
    ("pending_after_a_refusal", OUT_OF_STOCK): (cancelled("out_of_stock", "PENDING"),),
    ("pending", EXPIRE): (cancelled("expired", "PENDING"),),
    ("pending_after_a_refusal", EXPIRE): (cancelled("expired", "PENDING"),),
    ("pending", EXPIRE_AT_LAST): (cancelled("expired", "PENDING"),),
    ("pending_after_a_refusal", EXPIRE_AT_LAST): (cancelled("expired", "PENDING"),),
    ("pending", EXTEND): (EXTENDED,),
    ("pending_after_a_refusal", EXTEND): (EXTENDED,),
    ("waiting_for_stock", CANCEL): (cancelled("customer", "PENDING"),),
    ("waiting_for_stock", CONFIRM): (CONFIRMED,),
    ("waiting_for_stock", PAYMENT_FAILED): (cancelled("payment_failed", "PENDING"),),
    ("waiting_for_stock", OUT_OF_STOCK): (cancelled("out_of_stock", "PENDING"),),
    ("waiting_for_stock", EXPIRE_AT_LAST): (cancelled("expired", "PENDING"),),
    ("cancelling", SHIPMENT_CANCELLED): (cancelled("customer", "CANCELLING"),),
    ("confirmed", SHIPMENT_FAILED): (cancelled("shipment_failed", "CONFIRMED"),),
    ("cancelling", SHIPMENT_FAILED): (cancelled("shipment_failed", "CANCELLING"),),
    ("shipped", SHIPMENT_FAILED): (cancelled("shipment_failed", "SHIPPED"),),
    ("shipped_and_refused", SHIPMENT_FAILED): (cancelled("shipment_failed", "SHIPPED"),),
    ("confirmed", SHIP): (SHIPPED,),
    ("cancelling", SHIP): (SHIPPED, too_late("SHIPPED")),
    ("confirmed", DELIVER): (DELIVERED,),
    ("cancelling", DELIVER): (DELIVERED, too_late("DELIVERED")),
    ("shipped", DELIVER): (DELIVERED,),
    ("shipped_and_refused", DELIVER): (DELIVERED,),
}
"""Every answer there is. Any other command in any other state is too early, too late or asked before, and is quiet."""


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(history: str, command: OrderCommand) -> None:
    assert decide(command, after(*HISTORIES[history])) == ANSWERS.get((history, command), ())


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_asking_twice_gives_the_answer_once(history: str, command: OrderCommand) -> None:
    """A Rejected is no event: a command that is sent again is rejected again, and the order stays as it is."""
    answer = [event for event in ANSWERS.get((history, command), ()) if not isinstance(event, Rejected)]
    again = decide(command, after(*HISTORIES[history], *answer))
    assert [event for event in again if not isinstance(event, Rejected)] == []


def test_same_order_asked_again_later_is_quiet_whatever_became_of_it() -> None:
    later = replace(PLACE, asked_at=ASKED_AT + timedelta(days=1))
    for history in ("pending", "shipped", "cancelled"):
        assert decide(later, after(*HISTORIES[history])) == ()


@pytest.mark.parametrize(
    "other",
    [
        {"customer_id": CustomerId("c-8")},
        {"email": "bob@shop.example"},
        {"lines": WANTED[:1]},
        {"lines": (replace(WANTED[0], quantity=3), WANTED[1])},
        {"lines": (replace(WANTED[0], unit_price=Money(amount_minor=1249)), WANTED[1])},
        {"address": replace(ADDRESS, street="Hoofdweg 2")},
        {"method_token": MethodToken("tok_other")},
        {"allow_backorder": True},
        {"promotion_code": PromotionCode("SPRING")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_order_under_a_known_id_is_refused(other: dict[str, Any]) -> None:
    (refused,) = decide(replace(PLACE, **other), after(PLACED))
    assert isinstance(refused, Rejected)
    assert refused.reason == "order_already_placed"


def test_refused_order_leaves_its_id_free() -> None:
    dear = OrderLine(sku=Sku("house"), quantity=2)
    assert decide(replace(PLACE, lines=(dear,)), after()) == decide(replace(PLACE, lines=(dear,)), after())
    assert decide(PLACE, after()) == (PLACED,)


def test_cancellation_of_an_unknown_order_does_not_forbid_it() -> None:
    assert decide(CANCEL, after()) == (too_late("UNKNOWN"),)
    assert decide(PLACE, after(too_late("UNKNOWN"))) == (PLACED,)
    assert decide(CANCEL, after(too_late("UNKNOWN"), PLACED)) == (cancelled("customer", "PENDING"),)


def test_cancellation_that_was_refused_is_refused_again() -> None:
    assert decide(CANCEL, after(PLACED, CONFIRMED, SHIPPED)) == (too_late("SHIPPED"),)
    assert decide(CANCEL, after(PLACED, CONFIRMED, SHIPPED, too_late("SHIPPED"))) == (STILL_TOO_LATE,)


@pytest.mark.parametrize(
    ("first", "reason"), [(PAYMENT_FAILED, "payment_failed"), (OUT_OF_STOCK, "out_of_stock"), (EXPIRE, "expired")]
)
def test_whatever_ends_an_order_first_is_the_only_reason(first: OrderCommand, reason: CancellationReason) -> None:
    assert decide(first, after(PLACED)) == (cancelled(reason, "PENDING"),)
    for other in (PAYMENT_FAILED, OUT_OF_STOCK, EXPIRE, CANCEL, CONFIRM):
        assert decide(other, after(PLACED, cancelled(reason, "PENDING"))) == ()


def test_release_gives_its_own_reason_to_the_cancellation() -> None:
    released = InventoryReleased(order_id=ORDER, reason="payment_failed")
    (command,) = whenever_inventory_released_cancel_the_order(released)
    assert decide(command, after(PLACED)) == (cancelled("payment_failed", "PENDING"),)
    assert decide(command, after(PLACED, CONFIRMED, SHIPPED)) == ()


def test_cancellation_and_confirmation_race_and_the_first_one_counts() -> None:
    assert decide(CONFIRM, after(PLACED, cancelled("customer", "PENDING"))) == ()
    assert decide(CANCEL, after(PLACED, CONFIRMED)) == (REQUESTED,)


def test_deadline_and_confirmation_race_and_the_first_one_counts() -> None:
    assert decide(CONFIRM, after(PLACED, cancelled("expired", "PENDING"))) == ()
    assert decide(EXPIRE, after(PLACED, CONFIRMED)) == ()


def test_delivery_may_be_heard_of_before_the_shipment() -> None:
    assert decide(SHIP, after(PLACED, CONFIRMED, DELIVERED)) == ()


def test_failed_shipment_may_be_heard_of_before_the_shipment() -> None:
    assert decide(SHIP, after(PLACED, CONFIRMED, cancelled("shipment_failed", "CONFIRMED"))) == ()


def test_deadline_is_extended_once_and_the_first_one_is_stale_then() -> None:
    """P36: the whole time of the backorder, and after it the time that an order usually has."""
    later = replace(EXTEND, backorder_expires_at=EXTEND.backorder_expires_at + timedelta(hours=1))
    assert decide(later, after(PLACED, EXTENDED)) == ()
    assert decide(EXPIRE, after(PLACED, EXTENDED)) == ()


def test_each_deadline_is_armed_by_its_event() -> None:
    first, extended = (timer for timer in TIMERS if timer.name in ("OrderDeadline", "ExtendedDeadline"))
    assert (first.armed_by, extended.armed_by) == (OrderPlaced, OrderDeadlineExtended)
    assert (first.at(PLACED), first.whenever_due(PLACED)) == (EXPIRE.expires_at, [EXPIRE])
    assert (extended.at(EXTENDED), extended.whenever_due(EXTENDED)) == (EXPIRE_AT_LAST.expires_at, [EXPIRE_AT_LAST])


def test_order_that_is_being_cancelled_names_the_context_that_it_waits_for() -> None:
    assert after(*HISTORIES["cancelling"]).waits_for == "shipping"
    answered = ("shipped_and_refused", "delivered", "cancelled", "confirmed")
    assert [after(*HISTORIES[history]).waits_for for history in answered] == [None] * 4


class TestActors:
    """Where actors are required, nobody decides about the order of another customer."""

    @pytest.mark.parametrize("actor", ["", "c-8"])
    @pytest.mark.parametrize("history", ["pending", "confirmed", "shipped"])
    def test_cancellation_by_another_is_refused_whatever_the_state(self, history: str, actor: str) -> None:
        (refused,) = decide(replace(CANCEL, acting_for=actor), after(*HISTORIES[history]), require_actor=True)
        assert isinstance(refused, Rejected)
        assert refused.reason == "not_your_order"

    def test_own_order_is_cancelled(self) -> None:
        mine = replace(CANCEL, acting_for=PLACED.customer_id)
        assert decide(mine, after(PLACED), require_actor=True) == decide(CANCEL, after(PLACED))

    def test_order_in_the_name_of_another_is_refused(self) -> None:
        (refused,) = decide(replace(PLACE, acting_for="c-8"), after(), require_actor=True)
        assert isinstance(refused, Rejected)
        assert refused.reason == "not_your_order"
        mine = replace(PLACE, acting_for=PLACE.customer_id)
        assert decide(mine, after(), require_actor=True) == decide(PLACE, after())

    def test_commands_of_the_context_itself_need_no_actor(self) -> None:
        for command in (CONFIRM, EXPIRE):
            assert decide(command, after(PLACED), require_actor=True) == decide(command, after(PLACED))

    def test_nobody_is_asked_for_where_actors_are_not_required(self) -> None:
        assert decide(replace(CANCEL, acting_for="c-8"), after(PLACED)) == decide(CANCEL, after(PLACED))
