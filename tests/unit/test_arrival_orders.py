"""How an order ends in every order in which its messages can arrive, with any one of them arriving twice (R9)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from types import MappingProxyType

import pytest
from msgspec import Struct

from contexts.inventory.commands import ReplenishStock
from contexts.inventory.events import InventoryBackordered
from contexts.kernel import Address, CustomerId, MethodToken, OrderId
from contexts.ordering.commands import CancelOrder, OrderLine, PlaceOrder
from contexts.ordering.events import OrderConfirmed, OrderPlaced
from contexts.shipping.commands import (
    CancelShipment,
    MeetRequirement,
    ReportDelivered,
    ReportLost,
    ReportReturned,
    ShipmentCommand,
)
from contexts.shipping.events import DeliveryScheduled, OrderShipped
from contexts.shipping.shipment import Shipment, decide, evolve
from shared import catalog
from shared.context import Rejected
from tests.unit.deciding import NOW
from tests.unit.explorer import MUG, ON_THE_SHELF, Explorer, Outside
from tests.unit.outcomes import Outcome

AT_ONCE, LATER = timedelta(0), timedelta(hours=1)
"""When a parcel is handed over; LATER is any time after."""

WALKS = 150

ORDER = OrderId("o-1")
ADDRESS = Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB")
CANCEL = ("ordering", CancelOrder(order_id=ORDER, reason="second thoughts"))
NOBODY: Outside = MappingProxyType({})

SHIPPED = Outcome("SHIPPED", "COMMITTED", "CAPTURED", "DISPATCHED", "CAPTURED")
DELIVERED = Outcome("DELIVERED", "COMMITTED", "CAPTURED", "DELIVERED", "CAPTURED")


def cancelled(
    reason: str, payment: str, bank: str, *, reservation: str = "RELEASED", shipment: str = "CANCELLED"
) -> Outcome:
    return Outcome("CANCELLED", reservation, payment, shipment, bank, reason)


def never_asked(reason: str, *, reservation: str = "RELEASED") -> Outcome:
    return cancelled(reason, "VOIDED", "NEW", reservation=reservation)


def voided(reason: str, *, reservation: str = "RELEASED") -> Outcome:
    return cancelled(reason, "VOIDED", "VOIDED", reservation=reservation)


def refunded(reason: str) -> Outcome:
    return cancelled(reason, "REFUNDED", "REFUNDED")


def undelivered(*, reservation: str = "RELEASED") -> Outcome:
    return cancelled("shipment_failed", "REFUNDED", "REFUNDED", reservation=reservation, shipment="FAILED")


def order(
    order_id: OrderId = ORDER,
    *,
    token: str = "tok_ok",
    quantity: int = ON_THE_SHELF - 1,
    postal_code: str = ADDRESS.postal_code,
    allow_backorder: bool = False,
) -> PlaceOrder:
    return PlaceOrder(
        order_id=order_id,
        customer_id=CustomerId("c-7"),
        email="ada@shop.example",
        lines=(OrderLine(sku=MUG, quantity=quantity),),
        address=Address(street=ADDRESS.street, city=ADDRESS.city, country=ADDRESS.country, postal_code=postal_code),
        method_token=MethodToken(token),
        allow_backorder=allow_backorder,
        asked_at=NOW,
    )


def explorer(
    *orders: PlaceOrder, outside: Outside = NOBODY, deadline_races: bool = False, dispatch: timedelta = AT_ONCE
) -> Explorer:
    return Explorer(
        catalog.settings_with({"dispatch_delay": dispatch}), orders, outside=outside, deadline_races=deadline_races
    )


def ends(
    placed: PlaceOrder,
    *commands: tuple[str, Struct],
    outside: Outside = NOBODY,
    deadline_races: bool = False,
    dispatch: timedelta = AT_ONCE,
    twice: int = 1,
) -> Mapping[Outcome, Sequence[Counter[str]]]:
    """Every outcome of one order, each with how often every event may have been published until then."""
    exploring = explorer(placed, outside=outside, deadline_races=deadline_races, dispatch=dispatch)
    found = exploring.explore(("ordering", placed), *commands, twice=twice)
    return {
        outcome: [Counter({event: times for (_, event), times in said.items()}) for said in saids]
        for (outcome,), saids in found.items()
    }


def cancels(event: OrderPlaced | OrderConfirmed | DeliveryScheduled | OrderShipped) -> tuple[str, Struct]:
    return "ordering", CancelOrder(order_id=event.order_id, reason="second thoughts")


def delivers(event: OrderShipped) -> tuple[str, Struct]:
    return "shipping", ReportDelivered(order_id=event.order_id, tracking_no=event.tracking_no)


def loses(event: OrderShipped) -> tuple[str, Struct]:
    return "shipping", ReportLost(order_id=event.order_id, tracking_no=event.tracking_no)


def returns(event: OrderShipped) -> tuple[str, Struct]:
    return "shipping", ReportReturned(order_id=event.order_id, tracking_no=event.tracking_no)


def replenishes(_: InventoryBackordered) -> tuple[str, Struct]:
    return "inventory", ReplenishStock(sku=MUG, quantity=1, delivery_id="d-2")


@pytest.mark.parametrize("dispatch", [AT_ONCE, LATER])
def test_order_that_lacks_nothing_has_one_end(dispatch: timedelta) -> None:
    """P13: the reservation comes before the authorization or after it."""
    assert ends(order(), dispatch=dispatch, twice=3).keys() == {SHIPPED}


def test_order_that_the_carrier_delivers_is_delivered() -> None:
    assert ends(order(), outside={OrderShipped: delivers}).keys() == {DELIVERED}


def test_order_without_stock_is_cancelled_and_costs_nothing() -> None:
    """P22, P23, F1: the authorization is voided, or never made."""
    reason, rejected = "out_of_stock", "REJECTED"
    found = ends(order(quantity=ON_THE_SHELF + 1), twice=2)
    assert found.keys() == {never_asked(reason, reservation=rejected), voided(reason, reservation=rejected)}


def test_refused_authorization_has_one_end_even_where_inventory_hears_of_it_before_the_order() -> None:
    """P20, P21, F2, F3: where the refusal comes first, inventory reserves nothing."""
    found = ends(order(token="tok_poor"), twice=2)
    assert found.keys() == {cancelled("payment_failed", "FAILED", "REFUSED")}
    (saids,) = found.values()
    assert {said["InventoryReserved"] for said in saids} == {0, 1}
    assert {said["OrderCancelled payment_failed"] for said in saids} == {1}


def test_order_without_stock_and_money_is_cancelled_once() -> None:
    found = ends(order(quantity=ON_THE_SHELF + 1, token="tok_poor"))
    rejected = "REJECTED"
    assert found.keys() == {
        cancelled("payment_failed", "FAILED", "REFUSED", reservation="RELEASED"),
        cancelled("payment_failed", "FAILED", "REFUSED", reservation=rejected),
        cancelled("out_of_stock", "FAILED", "REFUSED", reservation=rejected),
        cancelled("out_of_stock", "VOIDED", "REFUSED", reservation=rejected),
        never_asked("out_of_stock", reservation=rejected),
    }


def test_refused_capture_leaves_nothing_held() -> None:
    """F4: the authorization is voided, and inventory releases."""
    assert ends(order(token="tok_nocapture")).keys() == {cancelled("payment_failed", "VOIDED", "VOIDED")}


@pytest.mark.parametrize("dispatch", [AT_ONCE, LATER])
def test_cancellation_races_everything_and_has_one_judge_at_a_time(dispatch: timedelta) -> None:
    """P23, P24, P25, F5, F6: tombstones forbid what comes after them."""
    found = ends(order(), outside={OrderPlaced: cancels}, dispatch=dispatch)
    reason = "customer"
    assert found.keys() == {SHIPPED, never_asked(reason), voided(reason), refunded(reason)}
    assert all(said["OrderCancellationRejected"] >= 1 for said in found[SHIPPED])


def test_cancellation_races_a_refused_authorization() -> None:
    found = ends(order(token="tok_poor"), outside={OrderPlaced: cancels})
    assert {end.reason for end in found} == {"customer", "payment_failed"}
    assert {(end.order, end.reservation, end.shipment) for end in found} == {("CANCELLED", "RELEASED", "CANCELLED")}
    assert {end.payment for end in found} == {"FAILED", "VOIDED"}


@pytest.mark.parametrize(
    ("event", "dispatch"), [(OrderConfirmed, AT_ONCE), (OrderConfirmed, LATER), (DeliveryScheduled, LATER)]
)
def test_cancellation_of_a_confirmed_order_races_the_dispatch(event: type[Struct], dispatch: timedelta) -> None:
    """P26, P27, F8: shipping decides."""
    found = ends(order(), outside={event: cancels}, dispatch=dispatch)
    assert found.keys() == {SHIPPED, refunded("customer")}
    assert all(said["OrderCancellationRejected"] == 1 for said in found[SHIPPED])
    assert all(said["DispatchRequested"] == 0 for said in found[refunded("customer")])


def test_cancellation_of_a_shipped_order_is_too_late() -> None:
    """P28, F9: even where ordering hears of the cancellation before the shipment."""
    found = ends(order(), outside={OrderShipped: cancels}, twice=2)
    assert found.keys() == {SHIPPED}
    assert {said["OrderCancellationRejected"] for said in found[SHIPPED]} == {1}
    assert {said["OrderCancellationRequested"] for said in found[SHIPPED]} == {0, 1}


def test_cancellation_that_comes_before_its_order_does_not_forbid_it() -> None:
    assert SHIPPED in ends(order(), CANCEL)


def test_deadline_races_the_payment() -> None:
    """P14, F13: a payment confirms only an order that is still pending."""
    reason = "expired"
    found = ends(order(), deadline_races=True)
    assert found.keys() == {SHIPPED, never_asked(reason), voided(reason), refunded(reason)}
    assert all(said["OrderConfirmed"] == 1 and said["OrderCancelled expired"] == 0 for said in found[SHIPPED])
    assert all(said["OrderConfirmed"] == 0 for said in found[refunded(reason)])


WANTS_MORE = order(quantity=ON_THE_SHELF + 1, allow_backorder=True)
OUT_OF_STOCK = {never_asked("out_of_stock", reservation="REJECTED"), voided("out_of_stock", reservation="REJECTED")}


def test_backorder_that_nothing_serves_expires_and_costs_nothing() -> None:
    found = ends(WANTS_MORE, twice=2)
    assert found.keys() == OUT_OF_STOCK
    assert all(said["OrderDeadlineExtended"] <= 1 for saids in found.values() for said in saids)


def test_delivery_races_the_expiry_of_a_backorder_and_inventory_judges() -> None:
    found = ends(WANTS_MORE, outside={InventoryBackordered: replenishes})
    assert found.keys() == {SHIPPED, *OUT_OF_STOCK}
    assert all(said["InventoryRejected"] == 0 for said in found[SHIPPED])


def test_cancellation_races_a_backorder_and_the_delivery_that_serves_it() -> None:
    found = ends(WANTS_MORE, outside={InventoryBackordered: replenishes, OrderPlaced: cancels}, twice=0)
    reason = "customer"
    both = {never_asked(reason), voided(reason), *(end._replace(reason=reason) for end in OUT_OF_STOCK)}
    assert found.keys() == {SHIPPED, refunded(reason), *both, *OUT_OF_STOCK}


def test_refused_payment_races_a_backorder_and_the_delivery_that_serves_it() -> None:
    placed = order(token="tok_poor", quantity=ON_THE_SHELF + 1, allow_backorder=True)
    found = ends(placed, outside={InventoryBackordered: replenishes})
    assert {end.reservation for end in found} == {"RELEASED", "REJECTED"}
    assert {end.order for end in found} == {"CANCELLED"}
    assert {end.reason for end in found} == {"payment_failed", "out_of_stock"}


def test_parcel_that_the_carrier_refuses_is_refunded_and_its_goods_are_here() -> None:
    assert ends(order(postal_code="0000")).keys() == {undelivered()}


def test_cancellation_and_refusing_carrier_refund_once() -> None:
    reason = "customer"
    found = ends(order(postal_code="0000"), outside={OrderPlaced: cancels}, twice=0)
    assert found.keys() == {undelivered(), never_asked(reason), voided(reason), refunded(reason)}


def test_lost_parcel_is_refunded_and_written_off() -> None:
    assert ends(order(), outside={OrderShipped: loses}).keys() == {undelivered(reservation="WRITTEN_OFF")}


def test_returned_parcel_is_refunded_and_back_on_the_shelf() -> None:
    assert ends(order(), outside={OrderShipped: returns}).keys() == {undelivered()}


def test_refund_that_is_refused_at_first_comes_in_the_end() -> None:
    assert ends(order(token="tok_norefund"), outside={OrderShipped: returns}, twice=0).keys() == {undelivered()}


def test_two_orders_race_for_the_last_units_and_one_gets_them() -> None:
    """F24: the worlds of two orders are too many to visit, so this takes random walks."""
    first, second = order(OrderId("o-1")), order(OrderId("o-2"))
    exploring = explorer(first, second, dispatch=LATER)
    found = {exploring.walk(Random(seed), ("ordering", first), ("ordering", second)) for seed in range(WALKS)}
    reason, rejected = "out_of_stock", "REJECTED"
    losers = {never_asked(reason, reservation=rejected), voided(reason, reservation=rejected)}
    assert found <= {(SHIPPED, loser) for loser in losers} | {(loser, SHIPPED) for loser in losers}
    assert {outcomes.index(SHIPPED) for outcomes in found} == {0, 1}


MET_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
FACTS: tuple[ShipmentCommand, ...] = (
    MeetRequirement(order_id=ORDER, requirement="reserved", met_at=MET_AT),
    MeetRequirement(order_id=ORDER, requirement="paid", met_at=MET_AT),
    MeetRequirement(order_id=ORDER, requirement="confirmed", met_at=MET_AT, address=ADDRESS),
)
UNDO = CancelShipment(order_id=ORDER, reason="customer")


def heard(*commands: ShipmentCommand) -> Iterator[tuple[str, ...]]:
    """The events of shipping, for every order of these commands."""
    for ordered in set(permutations(commands)):
        shipment, said = Shipment(), []
        for command in ordered:
            for event in decide(command, shipment, dispatch_delay=LATER):
                assert not isinstance(event, Rejected)
                shipment = evolve(shipment, event)
                said.append(type(event).__name__)
        yield tuple(said)


def test_three_facts_in_any_order_each_of_them_twice_schedule_one_delivery() -> None:
    """P15: two of the facts alone schedule none."""
    assert set(heard(*FACTS, *FACTS)) == {("ShipmentRequirementMet", "ShipmentRequirementMet", "DeliveryScheduled")}


@pytest.mark.parametrize("missing", FACTS)
def test_two_facts_schedule_none(missing: ShipmentCommand) -> None:
    there = [fact for fact in FACTS if fact is not missing]
    assert set(heard(*there, *there)) == {("ShipmentRequirementMet", "ShipmentRequirementMet")}


def test_three_facts_and_a_cancellation_end_with_the_cancellation() -> None:
    """Before the dispatch the cancellation always wins, wherever it comes among the facts."""
    assert {said[-1] for said in heard(*FACTS, *FACTS, UNDO)} == {"ShipmentCancelled"}
    assert {len(said) for said in heard(*FACTS, UNDO, UNDO)} == {1, 2, 3, 4}
