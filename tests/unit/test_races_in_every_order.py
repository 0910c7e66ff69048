"""One basket, one return and two backorders, in every order in which their messages can arrive."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import Struct

from contexts.inventory.commands import RegisterStockItem, ReplenishStock, ReserveStock
from contexts.kernel import Address, CustomerId, MethodToken, Money, OrderId, ReturnId, Sku, SkuQuantity
from contexts.ordering.commands import (
    AddItemsToBasket,
    ChangePrice,
    CheckOutBasket,
    NoteStock,
    OrderLine,
    PlaceOrder,
    RequestReturn,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import AddressSubmitted, PaymentDetailsSubmitted
from contexts.shipping.commands import ReportDelivered, ReportReturnReceived
from contexts.shipping.events import OrderShipped, ReturnExpected
from tests.unit.corner import Corner
from tests.unit.deciding import NOW
from tests.unit.explorer import MUG, ON_THE_SHELF, PRICE, SILENCES, Outside

KEY = OrderId("b-1")
BERN = Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000")
NOWHERE = Address(street="Nowhere Lane 7", city="Bern", country="CH", postal_code="3000")
DEARER = Money(amount_minor=1500)
SHELF_KNOWN = ("ordering", NoteStock(sku=MUG, available=ON_THE_SHELF, number=1))
CHECK_OUT = ("ordering", CheckOutBasket(order_id=KEY, asked_at=NOW))
CHANGE_PRICE = ("ordering", ChangePrice(sku=MUG, unit_price=DEARER, asked_at=NOW))


def units(quantity: int, sku: Sku = MUG) -> tuple[SkuQuantity, ...]:
    return (SkuQuantity(sku=sku, quantity=quantity),)


def add(quantity: int) -> tuple[str, Struct]:
    return "ordering", AddItemsToBasket(
        order_id=KEY, customer_id=CustomerId("c-1"), lines=units(quantity), asked_at=NOW
    )


def submit(address: Address) -> tuple[str, Struct]:
    return "ordering", SubmitAddress(order_id=KEY, address=address, asked_at=NOW)


def pay(token: str) -> tuple[str, Struct]:
    details = SubmitPaymentDetails(order_id=KEY, email="ann@example.com", method_token=MethodToken(token), asked_at=NOW)
    return "ordering", details


def corrects_the_address(_: AddressSubmitted) -> tuple[str, Struct]:
    return submit(BERN)


def corrects_the_token(_: PaymentDetailsSubmitted) -> tuple[str, Struct]:
    return pay("tok_ok")


CORRECTIONS: Outside = {AddressSubmitted: corrects_the_address, PaymentDetailsSubmitted: corrects_the_token}


def baskets(outside: Outside = MappingProxyType({}), *unheard: str) -> Corner:
    """Around a basket; its order goes no further, and nobody leaves it idle."""
    return Corner(
        ("ordering", "inventory", "shipping", "payments"),
        outside=outside,
        unheard=("OrderPlaced", *unheard),
        silences=(*SILENCES, "BasketIdle"),
    )


@pytest.mark.parametrize(
    ("submitted", "check"), [(submit(NOWHERE), "address_check"), (pay("tok_declined"), "payment_check")]
)
def test_answer_to_an_older_attempt_never_counts(submitted: tuple[str, Struct], check: str) -> None:
    """F22: the customer corrects the first attempt before, while or after it is answered."""
    found = baskets(CORRECTIONS).ends([SHELF_KNOWN, add(1)], submitted, twice=2)
    answers = [getattr(states[f"basket-{KEY}"], check) for states, _, _ in found]
    assert {(answer.attempt, answer.answer, answer.reason) for answer in answers} == {(2, "ACCEPTED", "")}
    recorded = "AddressAnswerRecorded" if check == "address_check" else "PaymentAnswerRecorded"
    assert {said[recorded] for _, said, _ in found} == {1, 2}


def test_checkout_races_the_answers_and_goes_through_only_after_both() -> None:
    """F22: with the first address refused, an order has the second one."""
    found = baskets(CORRECTIONS).ends([SHELF_KNOWN, add(1), pay("tok_ok")], submit(NOWHERE), CHECK_OUT)
    orders = [states[f"order-{KEY}"].placed for states, said, _ in found if said["OrderPlaced"]]
    assert {said["OrderPlaced"] for _, said, _ in found} == {0, 1}
    assert {placed.address for placed in orders} == {BERN}


def test_delivery_races_the_check_of_a_basket_and_leaves_no_alert() -> None:
    """F23, of an alert: set and cleared, or never set."""
    wanted = ON_THE_SHELF + 2
    delivery = ("inventory", ReplenishStock(sku=MUG, quantity=2, delivery_id="d-2"))
    found = baskets().ends([SHELF_KNOWN], add(wanted), delivery, twice=0)
    assert {(said["AlertSet"], said["AlertCleared"]) for _, said, _ in found} == {(0, 0), (1, 1)}
    assert {tuple(states[f"basket-{KEY}"].alerts) for states, _, _ in found} == {()}


def test_new_price_races_the_check_of_a_basket_and_is_shown_in_the_end() -> None:
    """F28, of an open basket."""
    found = baskets().ends([SHELF_KNOWN], add(2), CHANGE_PRICE, twice=0)
    shown = {tuple(line.unit_price for line in states[f"basket-{KEY}"].shown) for states, _, _ in found}
    assert shown == {(DEARER,)}
    assert {said["BasketUpdated"] for _, said, _ in found} == {1, 2}


def test_new_price_races_the_checkout_and_the_order_has_the_one_at_its_decision() -> None:
    """F28: both prices are possible; a later one changes no order."""
    found = baskets().ends([SHELF_KNOWN, add(2), submit(BERN), pay("tok_ok")], CHANGE_PRICE, CHECK_OUT)
    totals = Counter(states[f"order-{KEY}"].placed.total.amount_minor for states, _, _ in found)
    assert totals.keys() == {2 * PRICE.amount_minor, 2 * DEARER.amount_minor}
    assert {states[f"basket-{KEY}"].status for states, _, _ in found} == {"CHECKED_OUT"}


def test_order_has_the_new_price_although_the_basket_has_not_shown_it_yet() -> None:
    """F28: the basket has not heard of the new price when it is checked out."""
    begun = [SHELF_KNOWN, add(2), submit(BERN), pay("tok_ok"), CHANGE_PRICE]
    found = baskets(MappingProxyType({}), "PriceChanged").ends(begun, CHECK_OUT)
    assert {states[f"order-{KEY}"].placed.total.amount_minor for states, _, _ in found} == {2 * DEARER.amount_minor}


def delivers(event: OrderShipped) -> tuple[str, Struct]:
    return "shipping", ReportDelivered(order_id=event.order_id, tracking_no=event.tracking_no, said_at=NOW)


def sends_back(event: ReturnExpected) -> tuple[str, Struct]:
    return "shipping", ReportReturnReceived(order_id=event.order_id, return_id=event.return_id, lines=event.lines)


PLACED = (
    "ordering",
    PlaceOrder(
        order_id=KEY,
        customer_id=CustomerId("c-1"),
        email="ann@example.com",
        lines=(OrderLine(sku=MUG, quantity=ON_THE_SHELF),),
        address=BERN,
        method_token=MethodToken("tok_ok"),
        asked_at=NOW,
    ),
)


def request(return_id: str, quantity: int) -> tuple[str, Struct]:
    wanted = RequestReturn(
        order_id=KEY, return_id=ReturnId(return_id), lines=units(quantity), reason="too blue", asked_at=NOW
    )
    return "ordering", wanted


def ends_of_returns(*racing: tuple[str, Struct], twice: int = 1) -> list[tuple[Mapping[str, Any], Counter[str], Any]]:
    """Around a delivered order; a return may lapse at any time, and its parcel comes when shipping expects it."""
    corner = Corner(
        ("ordering", "inventory", "payments", "shipping"), outside={OrderShipped: delivers, ReturnExpected: sends_back}
    )
    return corner.ends([PLACED], *racing, twice=twice)


def test_return_lapses_before_its_parcel_comes_or_does_not_and_is_refunded_once() -> None:
    """F30: the parcel races the lapse of its return, and the money goes back once."""
    found = ends_of_returns(request("r-1", 2))
    assert {(said["ReturnLapsed"], said["ReturnRefunded"]) for _, said, _ in found} == {(0, 1), (1, 1)}
    assert {said["StockReturned"] for _, said, _ in found} == {1}
    assert {states[f"stock-{MUG}"].on_hand for states, _, _ in found} == {2}
    assert {bank[f"hold-pay-{KEY}"].refunded_minor for _, _, bank in found} == {2 * PRICE.amount_minor}


def test_two_returns_race_for_the_same_units_and_one_of_them_has_them() -> None:
    """F29: either of them may be the first."""
    found = ends_of_returns(request("r-1", 2), request("r-2", 2), twice=0)
    assert {said["ReturnRequested"] for _, said, _ in found} == {1}
    winners = {name for states, _, _ in found for name in ("r-1", "r-2") if f"return-{KEY}.{name}" in states}
    assert winners == {"r-1", "r-2"}
    assert {bank[f"hold-pay-{KEY}"].refunded_minor for _, _, bank in found} == {2 * PRICE.amount_minor}


TEA = Sku("tea")


def reserve(order_id: str, *skus: Sku) -> tuple[str, Struct]:
    lines = tuple(SkuQuantity(sku=sku, quantity=2 * ON_THE_SHELF) for sku in skus)
    return "inventory", ReserveStock(order_id=OrderId(order_id), lines=lines, allow_backorder=True, asked_at=NOW)


def deliver(sku: Sku, number: int) -> tuple[str, Struct]:
    return "inventory", ReplenishStock(sku=sku, quantity=2 * ON_THE_SHELF, delivery_id=f"d-{number}")


def served(*deliveries: tuple[str, Struct], twice: int) -> set[tuple[str, ...]]:
    """The reservations of two orders that wait for both SKUs, named crosswise; in every order of the messages."""
    corner = Corner(("inventory",), outside={}, silences=(*SILENCES, "BackorderExpiry"))
    begun: Sequence[tuple[str, Struct]] = [("inventory", RegisterStockItem(sku=TEA, name="Tea", unit_price=PRICE))]
    racing = (reserve("o-1", MUG, TEA), reserve("o-2", TEA, MUG), *deliveries)
    found = corner.ends(begun, *racing, twice=twice)
    for states, _, _ in found:
        waiting = [one.order_id for sku in (MUG, TEA) for one in states[f"stock-{sku}"].waiting]
        held = [order for order in ("o-1", "o-2") if states[f"reservation-{order}"].status == "RESERVED"]
        assert {*waiting}.isdisjoint(held)
        assert [states[f"stock-{sku}"].reserved for sku in (MUG, TEA)] == [2 * ON_THE_SHELF * len(held)] * 2
    return {tuple(states[f"reservation-{order}"].status for order in ("o-1", "o-2")) for states, _, _ in found}


def test_two_orders_that_wait_for_two_skus_are_both_served_whichever_comes_first() -> None:
    """F32: no deadlock and no starvation, whatever comes first."""
    everything = (deliver(MUG, 11), deliver(TEA, 12), deliver(MUG, 13), deliver(TEA, 14))
    assert served(*everything, twice=1) == {("RESERVED", "RESERVED")}
    assert served(deliver(MUG, 11), deliver(TEA, 12), twice=1) == {
        ("RESERVED", "BACKORDERED"),
        ("BACKORDERED", "RESERVED"),
    }
