"""A basket from its first item to its order, in virtual time: alerts, answers, prices, and an idle customer."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contexts.inventory.commands import AdjustStock, ReplenishStock
from contexts.kernel import Address, CustomerId, MethodToken, Money, Sku, SkuQuantity
from contexts.ordering.commands import (
    AddItemsToBasket,
    AnnouncePromotion,
    ChangePrice,
    CheckOutBasket,
    RemoveItemsFromBasket,
    SubmitAddress,
    SubmitPaymentDetails,
)
from contexts.ordering.events import PromotionCode, RequestId
from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import MUG, books, fill_shelves, level, mails, order

KEY = "b-1"
ON_THE_SHELF = 5
BERN = Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000")
NOWHERE = Address(street="Nowhere Lane 7", city="Bern", country="CH", postal_code="3000")


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.long)])
def shop(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    with simulation(seed=request.param, partitions=2, basket_idle=timedelta(hours=2)) as running:
        fill_shelves(running, quantity=ON_THE_SHELF)
        yield running


def send(shop: Simulation, *commands: Any, key: str = KEY) -> None:
    for command in commands:
        shop.send(command, key=key)
        shop.run_until_quiet()


def add(quantity: int, sku: Sku = MUG) -> AddItemsToBasket:
    return AddItemsToBasket(customer_id=CustomerId("c-1"), lines=(SkuQuantity(sku=sku, quantity=quantity),))


def remove(quantity: int, sku: Sku = MUG) -> RemoveItemsFromBasket:
    return RemoveItemsFromBasket(lines=(SkuQuantity(sku=sku, quantity=quantity),))


def pay(token: str = "tok_ok") -> SubmitPaymentDetails:
    return SubmitPaymentDetails(email="ann@example.com", method_token=MethodToken(token))


def told(shop: Simulation, key: str = KEY) -> list[str]:
    """The events of ordering under a key, the touches of the basket left out."""
    return [fact for fact in shop.facts(key, of="ordering") if fact != "BasketTouched"]


def missing(shop: Simulation, key: str = KEY) -> list[str]:
    rejected = shop.content(key, "CommandRejected")
    assert rejected["reason"] == "basket_not_ready"
    return [detail["path"] for detail in rejected["details"]]


def shown(shop: Simulation, key: str = KEY) -> list[int]:
    """The totals that the customer saw, one after the other."""

    return [
        msgspec.json.decode(event.body)["total"]["amount_minor"]
        for event in shop.events(key)
        if event.type == "BasketUpdated"
    ]


def test_basket_that_wants_more_than_a_full_shelf_has_an_alert_until_it_wants_less() -> None:
    with simulation(seed=1, partitions=2) as shop:
        fill_shelves(shop, quantity=1_000)
        send(shop, add(5_000))
        assert shop.content(KEY, "AlertSet")["available"] == 1_000
        send(shop, CheckOutBasket())
        assert f"$.alerts.{MUG}" in missing(shop)
        send(shop, remove(4_000))
        assert "AlertCleared" in told(shop)


def test_basket_becomes_an_order_that_is_shipped(shop: Simulation) -> None:
    send(shop, add(1), add(1), SubmitAddress(address=BERN), pay(), CheckOutBasket())
    assert told(shop)[:10] == [
        "ItemsAddedToBasket",
        "BasketUpdated",
        "ItemsAddedToBasket",
        "BasketUpdated",
        "AddressSubmitted",
        "AddressAnswerRecorded",
        "PaymentDetailsSubmitted",
        "PaymentAnswerRecorded",
        "BasketCheckedOut",
        "OrderPlaced",
    ]
    placed = shop.content(KEY, "OrderPlaced")
    price = {"amount_minor": 250, "currency": "EUR"}
    assert placed["lines"] == [{"sku": "mug", "quantity": 2, "unit_price": price, "discount": 0}]
    assert (placed["customer_id"], placed["email"], placed["method_token"]) == ("c-1", "ann@example.com", "tok_ok")
    assert shown(shop) == [250, 500]
    assert "OrderShipped" in shop.facts(KEY)
    assert (books(shop), level(shop)) == ({"capture": 500}, (ON_THE_SHELF - 2, 0))
    send(shop, CheckOutBasket())
    assert told(shop).count("OrderPlaced") == 1


def test_change_of_a_basket_that_is_sent_twice_without_a_message_id_counts_once_by_its_request_id(
    shop: Simulation,
) -> None:
    """F17: a client that sends a change again names it again."""
    send(shop, replace(add(2), request_id=RequestId("click-1")), replace(add(2), request_id=RequestId("click-1")))
    send(shop, replace(remove(1), request_id=RequestId("click-2")), replace(remove(1), request_id=RequestId("click-2")))
    assert shown(shop) == [500, 250]
    assert "CommandRejected" not in told(shop)


def test_checkout_of_nothing_names_all_that_is_missing(shop: Simulation) -> None:
    send(shop, CheckOutBasket())
    assert missing(shop) == ["$.lines", "$.address", "$.payment"]


def test_checkout_names_an_open_alert_a_rejected_address_and_declined_details(shop: Simulation) -> None:
    send(shop, add(ON_THE_SHELF + 1), SubmitAddress(address=NOWHERE), pay("tok_declined"), CheckOutBasket())
    assert missing(shop) == ["$.alerts.mug", "$.address", "$.payment"]
    details = [detail["message"] for detail in shop.content(KEY, "CommandRejected")["details"]]
    assert details == [
        "6 are wanted and 5 are there",
        "refused, unknown_street",
        "refused, declined",
    ]


def test_alert_is_set_and_cleared_when_stock_comes(shop: Simulation) -> None:
    """P6, F23: an alert is cleared as soon as the stock suffices, and once."""
    send(shop, add(ON_THE_SHELF + 2))
    alert = shop.content(KEY, "AlertSet")
    assert (alert["sku"], alert["requested"], alert["available"]) == ("mug", 7, 5)
    send(shop, ReplenishStock(quantity=1, delivery_id="d-2"), key=MUG)
    assert "AlertCleared" not in told(shop)
    send(shop, ReplenishStock(quantity=1, delivery_id="d-3"), key=MUG)
    assert shop.content(KEY, "AlertCleared")["available"] == 7
    send(shop, ReplenishStock(quantity=1, delivery_id="d-4"), key=MUG)
    assert told(shop).count("AlertCleared") == 1
    send(shop, SubmitAddress(address=BERN), pay(), CheckOutBasket())
    assert "OrderShipped" in shop.facts(KEY)
    assert "stock_short" not in mails(shop, KEY)  # It waited for an address, and its news was over.


def test_alert_is_cleared_when_the_customer_wants_less(shop: Simulation) -> None:
    """P1: the basket is compared with the shelf whether lines are added to it or removed from it."""
    send(shop, add(ON_THE_SHELF + 2), remove(1))
    assert told(shop).count("AlertSet") == 2  # It says now that six are wanted.
    send(shop, remove(6))
    assert told(shop)[-2:] == ["BasketUpdated", "AlertCleared"]
    assert shown(shop) == [1750, 1500, 0]


def test_customer_whose_address_is_known_gets_a_letter_about_the_alert(shop: Simulation) -> None:
    send(shop, add(1), pay(), add(ON_THE_SHELF))
    assert mails(shop, KEY)["stock_short"]["To"] == "ann@example.com"


def test_stock_that_is_promised_to_others_is_not_there_for_a_basket(shop: Simulation) -> None:
    send(shop, order(quantity=4), key="o-1")
    send(shop, add(2))
    assert shop.content(KEY, "AlertSet")["available"] == 1
    send(shop, AdjustStock(delta=1, reason="found"), key=MUG)
    assert told(shop)[-1] == "AlertCleared"


def test_answer_to_an_older_attempt_is_ignored(shop: Simulation) -> None:
    """P2, P3: both attempts are answered. P4, P5, F22: only the answers to the second one are recorded.

    Shipping and payments hear both attempts only after the second was made.
    """
    for context in ("shipping", "payments"):
        shop.stop(context)
    send(shop, add(1), SubmitAddress(address=NOWHERE), SubmitAddress(address=BERN), pay("tok_declined"), pay())
    for context in ("shipping", "payments"):
        shop.start(context)
    shop.run_until_quiet()
    assert shop.facts(KEY, of="shipping") == ["AddressRejected", "AddressValidated"]
    answers = [fact for fact in shop.facts(KEY, of="payments") if fact != "MethodVerificationRequested"]
    assert answers == ["PaymentDeclined", "PaymentApproved"]
    recorded = [fact for fact in told(shop) if "Answer" in fact]
    assert sorted(recorded) == ["AddressAnswerRecorded", "PaymentAnswerRecorded"]
    assert shop.content(KEY, "AddressAnswerRecorded")["attempt"] == 2
    send(shop, CheckOutBasket())
    assert "OrderPlaced" in told(shop)


def test_new_price_is_shown_in_every_open_basket(shop: Simulation) -> None:
    """A changed price is shown in open baskets, and the same price again changes nothing (F28)."""
    send(shop, add(2))
    send(shop, add(1), key="b-2")
    send(shop, ChangePrice(unit_price=Money(amount_minor=300)), key=MUG)
    assert (shown(shop), shown(shop, "b-2")) == ([500, 600], [250, 300])
    send(shop, ChangePrice(unit_price=Money(amount_minor=300)), key=MUG)
    assert shown(shop) == [500, 600]


@pytest.mark.parametrize(("first", "total_minor"), [("price", 600), ("checkout", 500)])
def test_order_has_the_price_at_its_decision(shop: Simulation, first: str, total_minor: int) -> None:
    """The price may change before the checkout or after it (F28).

    tests/unit/test_races_in_every_order.py has every order of the messages.
    """
    send(shop, add(2), SubmitAddress(address=BERN), pay())
    racing = [(ChangePrice(unit_price=Money(amount_minor=300)), str(MUG)), (CheckOutBasket(), KEY)]
    for command, key in racing if first == "price" else reversed(racing):
        send(shop, command, key=key)
    assert shop.content(KEY, "OrderPlaced")["total"]["amount_minor"] == total_minor


def test_checkout_with_a_promotion_has_its_discount(shop: Simulation) -> None:
    begins, until = shop.now - timedelta(hours=1), shop.now + timedelta(hours=1)
    send(shop, AnnouncePromotion(percent_off=10, begins=begins, until=until), key="TEN")
    send(shop, add(2), SubmitAddress(address=BERN), pay())
    send(shop, CheckOutBasket(promotion_code=PromotionCode("NINE")))
    assert shop.content(KEY, "CommandRejected")["reason"] == "unknown_promotion"
    send(shop, CheckOutBasket(promotion_code=PromotionCode("TEN")))
    placed = shop.content(KEY, "OrderPlaced")
    assert (placed["discount"], placed["total"]["amount_minor"]) == (50, 450)


def test_idle_basket_is_abandoned_and_one_in_use_is_not(shop: Simulation) -> None:
    """P7: each change gives the basket its whole time again."""
    send(shop, add(1))
    shop.advance(hours=1)
    send(shop, add(1))
    shop.advance(hours=1.5)
    assert "BasketAbandoned" not in told(shop)
    shop.advance(hours=1)
    assert told(shop)[-1] == "BasketAbandoned"
    send(shop, add(1))
    assert shop.content(KEY, "CommandRejected")["reason"] == "basket_closed"
    send(shop, ChangePrice(unit_price=Money(amount_minor=300)), key=MUG)
    assert shown(shop) == [250, 500]


def test_checked_out_basket_is_not_abandoned(shop: Simulation) -> None:
    send(shop, add(1), SubmitAddress(address=BERN), pay(), CheckOutBasket())
    shop.advance(hours=3)
    assert "BasketAbandoned" not in told(shop)
    send(shop, pay("tok_other"))
    assert shop.content(KEY, "CommandRejected")["reason"] == "basket_closed"


def test_order_that_was_placed_without_its_basket_closes_it(shop: Simulation) -> None:
    send(shop, add(1), order(), SubmitAddress(address=BERN), pay(), CheckOutBasket())
    assert shop.content(KEY, "CommandRejected")["reason"] == "order_already_placed"
    assert told(shop).count("OrderPlaced") == 1


def test_shelf_forgets_baskets_that_are_closed(shop: Simulation) -> None:
    def followed() -> str:
        query = "SELECT json_extract(state, '$.baskets') FROM aggregates WHERE id = 'shelf-mug'"
        return str(shop.rows("ordering", query)[0][0])

    send(shop, add(1), SubmitAddress(address=BERN), pay())
    send(shop, add(1), key="b-2")
    assert followed() == '{"b-1":false,"b-2":false}'
    send(shop, CheckOutBasket())
    shop.advance(hours=3)
    assert followed() == "{}"
