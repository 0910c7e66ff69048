"""The races of one order, in every order in which its messages can arrive, with any one of them arriving twice."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from msgspec import Struct

from contexts.kernel import Address, CustomerId, Line, MethodToken, Money
from contexts.ordering.commands import CancelOrder, PlaceOrder
from contexts.ordering.events import OrderConfirmed, OrderPlaced
from contexts.shipping.decider import CancelShipment, MeetRequirement, Shipment, ShipmentCommand, decide, evolve
from contexts.shipping.events import OrderShipped
from shared import catalog
from shared.context import Rejected
from tests.unit.choreography import MUG, NOW, ON_THE_SHELF, ORDER, Choreography, End, Said

AT_ONCE, LATER = timedelta(0), timedelta(hours=1)
"""When a parcel is handed over; LATER is any time after."""

ADDRESS = Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB")
CANCEL = ("ordering", CancelOrder(order_id=ORDER, reason="second thoughts"))

SHIPPED = End("SHIPPED", "COMMITTED", "CAPTURED", "DISPATCHED", "CAPTURED")


def undone(reason: str, payment: str, bank: str) -> End:
    return End("CANCELLED", "RELEASED", payment, "CANCELLED", bank, reason)


def never_asked(reason: str) -> End:
    return undone(reason, "VOIDED", "UNKNOWN")


def voided(reason: str) -> End:
    return undone(reason, "VOIDED", "VOIDED")


def refunded(reason: str) -> End:
    return undone(reason, "REFUNDED", "REFUNDED")


def ends(
    *,
    token: str = "tok_ok",
    customer: Mapping[type[Struct], tuple[str, Struct]] | None = None,
    deadline: bool = False,
    dispatch: timedelta = AT_ONCE,
    twice: int = 1,
) -> Mapping[End, Sequence[Said]]:
    """Every end of one order, each with all that may have been said until then."""
    place = PlaceOrder(
        order_id=ORDER,
        customer_id=CustomerId("c-7"),
        email="ada@shop.example",
        lines=(Line(sku=MUG, quantity=ON_THE_SHELF - 1, unit_price=Money(amount_minor=1250)),),
        address=ADDRESS,
        method_token=MethodToken(token),
        asked_at=NOW,
    )
    shop = Choreography(catalog.settings_with({"dispatch_delay": dispatch}), customer=customer or {}, deadline=deadline)
    return shop.ends(("ordering", place), twice=twice)


@pytest.mark.parametrize("dispatch", [AT_ONCE, LATER])
def test_order_that_lacks_nothing_has_one_end(dispatch: timedelta) -> None:
    assert ends(dispatch=dispatch, twice=3).keys() == {SHIPPED}


def test_refused_authorization_has_one_end_even_where_inventory_hears_of_it_before_the_order() -> None:
    """F2, F3."""
    found = ends(token="tok_poor", twice=2)
    assert found.keys() == {undone("payment_failed", "FAILED", "REFUSED")}
    (saids,) = found.values()
    assert {said["InventoryReserved"] for said in saids} == {0, 1}
    assert {said["OrderCancelled payment_failed"] for said in saids} == {1}


def test_refused_capture_leaves_nothing_held() -> None:
    """F4."""
    assert ends(token="tok_nocapture").keys() == {undone("payment_failed", "VOIDED", "VOIDED")}


@pytest.mark.parametrize("dispatch", [AT_ONCE, LATER])
def test_cancellation_races_reservation_payment_and_dispatch(dispatch: timedelta) -> None:
    """F5, F6, F8: whoever is the judge decides, and everybody follows."""
    found = ends(customer={OrderPlaced: CANCEL}, dispatch=dispatch)
    reason = "customer"
    assert found.keys() == {SHIPPED, never_asked(reason), voided(reason), refunded(reason)}
    assert all(said["OrderCancellationRejected"] >= 1 for said in found[SHIPPED])


def test_cancellation_races_a_refused_authorization() -> None:
    """F2 with F5."""
    found = ends(token="tok_poor", customer={OrderPlaced: CANCEL})
    assert {end.reason for end in found} == {"customer", "payment_failed"}
    assert {(end.order, end.reservation, end.shipment) for end in found} == {("CANCELLED", "RELEASED", "CANCELLED")}
    assert {end.payment for end in found} == {"FAILED", "VOIDED"}


@pytest.mark.parametrize("dispatch", [AT_ONCE, LATER])
def test_cancellation_of_a_confirmed_order_races_the_dispatch(dispatch: timedelta) -> None:
    """F7, F8: shipping decides."""
    found = ends(customer={OrderConfirmed: CANCEL}, dispatch=dispatch)
    assert found.keys() == {SHIPPED, refunded("customer")}
    assert all(said["OrderCancellationRejected"] == 1 for said in found[SHIPPED])
    assert all(said["DispatchRequested"] == 0 for said in found[refunded("customer")])


def test_cancellation_of_a_shipped_order_is_too_late() -> None:
    """F9, also where ordering hears of the cancellation before the shipment."""
    found = ends(customer={OrderShipped: CANCEL}, twice=2)
    assert found.keys() == {SHIPPED}
    assert {said["OrderCancellationRejected"] for said in found[SHIPPED]} == {1}
    assert {said["OrderCancellationRequested"] for said in found[SHIPPED]} == {0, 1}


def test_deadline_races_the_payment() -> None:
    """F13: confirmed, or cancelled with all money back."""
    reason = "expired"
    found = ends(deadline=True)
    assert found.keys() == {SHIPPED, never_asked(reason), voided(reason), refunded(reason)}
    assert all(said["OrderConfirmed"] == 1 and said["OrderCancelled expired"] == 0 for said in found[SHIPPED])
    assert all(said["OrderConfirmed"] == 0 for said in found[refunded(reason)])


MET_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
FACTS: tuple[ShipmentCommand, ...] = (
    MeetRequirement(order_id=ORDER, requirement="reserved", met_at=MET_AT),
    MeetRequirement(order_id=ORDER, requirement="paid", met_at=MET_AT),
    MeetRequirement(order_id=ORDER, requirement="confirmed", met_at=MET_AT, address=ADDRESS),
)
UNDO = CancelShipment(order_id=ORDER, reason="customer")


def heard(*commands: ShipmentCommand) -> Iterator[tuple[str, ...]]:
    """What shipping says in every order of these commands."""
    for ordered in set(permutations(commands)):
        shipment, said = Shipment(), []
        for command in ordered:
            for event in decide(command, shipment, dispatch_delay=LATER):
                assert not isinstance(event, Rejected)
                shipment = evolve(shipment, event)
                said.append(type(event).__name__)
        yield tuple(said)


def test_three_facts_in_any_order_each_of_them_twice_schedule_one_delivery() -> None:
    """P15."""
    assert set(heard(*FACTS, *FACTS)) == {("ShipmentRequirementMet", "ShipmentRequirementMet", "DeliveryScheduled")}


@pytest.mark.parametrize("missing", FACTS)
def test_two_facts_schedule_none(missing: ShipmentCommand) -> None:
    there = [fact for fact in FACTS if fact is not missing]
    assert set(heard(*there, *there)) == {("ShipmentRequirementMet", "ShipmentRequirementMet")}


def test_three_facts_and_a_cancellation_end_with_the_cancellation() -> None:
    """Before the dispatch it always wins, wherever it comes among the facts."""
    assert {said[-1] for said in heard(*FACTS, *FACTS, UNDO)} == {"ShipmentCancelled"}
    assert {len(said) for said in heard(*FACTS, UNDO, UNDO)} == {1, 2, 3, 4}
