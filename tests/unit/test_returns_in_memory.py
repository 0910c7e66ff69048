"""Returns of delivered orders, in virtual time: received, lapsed, late, refused, and never worth more than was paid."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from contexts.kernel import Line, Money, ReturnId, Sku, SkuQuantity
from contexts.ordering.commands import AnnouncePromotion, ChangePrice, OrderLine, PlaceOrder, RequestReturn
from contexts.ordering.events import PromotionCode
from contexts.payments.commands import RetryRefund
from contexts.sagas import RETURN
from contexts.shipping.commands import ReportDelivered, ReportReturnReceived
from shared.simulation.testing import Simulation, simulation
from tests.sagas import SENT_BACK, SERVED
from tests.unit.shopping import (
    MUG,
    ON_THE_SHELF,
    PRICE,
    TOTAL,
    books,
    ending_of,
    fill_shelves,
    level,
    mails,
    order,
)

TEA = Sku("tea")
SEEDS = (1, pytest.param(2, marks=pytest.mark.long))


@pytest.fixture(params=SEEDS)
def running(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    with simulation(seed=request.param, partitions=2) as opened:
        fill_shelves(opened)
        fill_shelves(opened, TEA)
        yield opened


def deliver(shop: Simulation, key: str, placed: PlaceOrder) -> None:
    """Place an order, and report its parcel as delivered."""
    shop.send(placed, key=key)
    shop.run_until_quiet()
    shop.send(ReportDelivered(tracking_no=shop.content(key, "OrderShipped")["tracking_no"]), key=key)
    shop.run_until_quiet()


def lines(**quantities: int) -> tuple[SkuQuantity, ...]:
    return tuple(SkuQuantity(sku=Sku(sku), quantity=quantity) for sku, quantity in quantities.items())


def request(shop: Simulation, key: str, return_id: str, **quantities: int) -> None:
    """Ask for a return."""
    wanted = RequestReturn(return_id=ReturnId(return_id), lines=lines(**quantities), reason="too blue")
    shop.send(wanted, key=key)
    shop.run_until_quiet()


def receive(shop: Simulation, key: str, return_id: str, **quantities: int) -> None:
    """Report the parcel of a return."""
    shop.send(ReportReturnReceived(return_id=ReturnId(return_id), lines=lines(**quantities)), key=key)
    shop.run_until_quiet()


def refusals(shop: Simulation, key: str) -> list[str]:
    return [content["reason"] for content in contents(shop, key, "CommandRejected")]


def contents(shop: Simulation, key: str, event: str) -> list[Any]:
    return [json.loads(one.body) for one in shop.events(key) if one.type == event]


def test_returned_order_is_restocked_and_refunded(running: Simulation) -> None:
    """P51, P53, P54, P55: each context does its part of a return, once."""
    deliver(running, "o-1", order())
    request(running, "o-1", "r-1", mug=2)
    receive(running, "o-1", "r-1", mug=2)
    ending_of(running, "o-1", SENT_BACK)
    assert (books(running), level(running)) == ({"capture": TOTAL, "refund": TOTAL}, (ON_THE_SHELF, 0))
    assert running.content("o-1", "ReturnRefunded")["amount"]["amount_minor"] == TOTAL
    end = RETURN.end(f"{event.context}.{event.type}" for event in running.events("o-1"))
    assert end is not None
    assert end.name == "refunded"
    assert "r-1" in mails(running, "o-1")["return_requested"].get_content()
    running.advance(days=60)
    ending_of(running, "o-1", SENT_BACK)


def test_some_lines_are_returned_and_fewer_come(running: Simulation) -> None:
    deliver(running, "o-1", order(quantity=3))
    request(running, "o-1", "r-1", mug=2)
    receive(running, "o-1", "r-1", mug=1)
    assert books(running) == {"capture": 3 * PRICE.amount_minor, "refund": PRICE.amount_minor}
    assert level(running) == (ON_THE_SHELF - 2, 0)


def test_return_lapses_when_its_parcel_does_not_come(running: Simulation) -> None:
    """P52, P57: support has a ticket of it."""
    deliver(running, "o-1", order())
    request(running, "o-1", "r-1", mug=1)
    running.advance(days=13)
    assert running.facts("o-1").count("ReturnLapsed") == 0
    running.advance(days=2)
    assert running.content("o-1", "ReturnLapsed")["return_id"] == "r-1"
    assert running.content("o-1", "TicketOpened")["case"] == "return-r-1"
    assert books(running) == {"capture": TOTAL}


def test_parcel_that_comes_after_its_return_lapsed_is_refunded_all_the_same(running: Simulation) -> None:
    """Once, and support's ticket is closed (F30)."""
    deliver(running, "o-1", order())
    request(running, "o-1", "r-1", mug=2)
    running.advance(days=15)
    receive(running, "o-1", "r-1", mug=2)
    receive(running, "o-1", "r-1", mug=2)
    assert books(running) == {"capture": TOTAL, "refund": TOTAL}
    assert level(running) == (ON_THE_SHELF, 0)
    assert running.content("o-1", "TicketResolved")["case"] == "return-r-1"
    assert running.facts("o-1").count("ReturnRefunded") == 1


def test_each_return_lapses_at_its_own_time(running: Simulation) -> None:
    """P52: r-1 after 14 days, r-3 after 29, and r-2, whose parcel has come, never."""
    deliver(running, "o-1", order(quantity=4))
    for return_id in ("r-1", "r-2"):
        request(running, "o-1", return_id, mug=1)
        running.advance(days=5)
    receive(running, "o-1", "r-2", mug=1)
    running.advance(days=3)
    assert lapsed(running) == []
    running.advance(days=2)
    assert lapsed(running) == ["r-1"]
    request(running, "o-1", "r-3", mug=1)
    running.advance(days=13)
    assert lapsed(running) == ["r-1"]
    running.advance(days=2)
    assert lapsed(running) == ["r-1", "r-3"]


def lapsed(shop: Simulation) -> list[str]:
    return [content["return_id"] for content in contents(shop, "o-1", "ReturnLapsed")]


def test_two_returns_never_have_more_units_than_were_bought(running: Simulation) -> None:
    """F29: also when the first one lapsed, since its parcel may still come."""
    deliver(running, "o-1", order())
    request(running, "o-1", "r-1", mug=1)
    request(running, "o-1", "r-2", mug=2)
    request(running, "o-1", "r-2", mug=1)
    request(running, "o-1", "r-3", mug=1)
    request(running, "o-1", "r-4", tea=1)
    assert refusals(running, "o-1") == ["too_many"] * 3
    running.advance(days=15)
    request(running, "o-1", "r-5", mug=1)
    assert refusals(running, "o-1") == ["too_many"] * 4
    for return_id in ("r-2", "r-1"):
        receive(running, "o-1", return_id, mug=1)
    assert (books(running), level(running)) == ({"capture": TOTAL, "refund": TOTAL}, (ON_THE_SHELF, 0))


@pytest.mark.parametrize("seed", range(4))
def test_two_returns_race_for_the_same_units_and_one_has_them(seed: int) -> None:
    with simulation(seed=seed, partitions=2) as running:
        fill_shelves(running)
        deliver(running, "o-1", order())
        for return_id in ("r-1", "r-2"):
            wanted = RequestReturn(return_id=ReturnId(return_id), lines=lines(mug=2), reason="too blue")
            running.send(wanted, key="o-1")
        running.run_until_quiet()
        assert running.facts("o-1").count("ReturnRequested") == 1
        assert refusals(running, "o-1") == ["too_many"]


def test_return_after_the_window_and_of_an_order_that_was_not_delivered_is_refused(running: Simulation) -> None:
    """F29: refused with its reason."""
    running.send(order(), key="o-shipped")
    running.send(order(token="tok_poor"), key="o-failed")
    running.run_until_quiet()
    for key in ("o-shipped", "o-failed", "o-unknown"):
        request(running, key, "r-1", mug=1)
        assert refusals(running, key) == ["not_delivered"]
    deliver(running, "o-1", order())
    running.advance(days=31)
    request(running, "o-1", "r-1", mug=1)
    assert refusals(running, "o-1") == ["window_closed"]


def test_same_return_again_is_quiet_and_another_one_under_its_id_is_refused(running: Simulation) -> None:
    deliver(running, "o-1", order())
    for _ in range(2):
        request(running, "o-1", "r-1", mug=1)
    assert refusals(running, "o-1") == []
    request(running, "o-1", "r-1", mug=2)
    assert refusals(running, "o-1") == ["id_known_otherwise"]


def test_parcel_that_nobody_expects_is_refused(running: Simulation) -> None:
    deliver(running, "o-1", order())
    receive(running, "o-1", "r-1", mug=1)
    request(running, "o-1", "r-1", mug=1)
    receive(running, "o-1", "r-1", mug=2)
    receive(running, "o-1", "r-1", tea=1)
    receive(running, "o-1", "r-1", mug=1)
    assert refusals(running, "o-1") == ["not_expected", "too_many", "too_many"]
    assert books(running) == {"capture": TOTAL, "refund": PRICE.amount_minor}


def test_refunds_of_two_returns_that_the_bank_refuses_at_first_come_one_after_the_other(running: Simulation) -> None:
    placed = order(token="tok_norefund", quantity=3)
    deliver(running, "o-1", placed)
    request(running, "o-1", "r-1", mug=1)
    request(running, "o-1", "r-2", mug=2)
    receive(running, "o-1", "r-1", mug=1)
    receive(running, "o-1", "r-2", mug=2)
    assert books(running) == {"capture": 3 * PRICE.amount_minor}
    running.send(RetryRefund(), key="o-1")
    running.advance(hours=1)
    assert books(running) == {"capture": 3 * PRICE.amount_minor, "refund": 3 * PRICE.amount_minor}
    assert [content["return_id"] for content in contents(running, "o-1", "ReturnRefunded")] == ["r-1", "r-2"]


def test_returns_of_two_skus_give_back_exactly_what_was_paid(running: Simulation) -> None:
    two_skus = (
        Line(sku=MUG, quantity=2, unit_price=PRICE),
        Line(sku=TEA, quantity=3, unit_price=PRICE),
    )
    deliver(running, "o-1", replace(order(), lines=two_skus))
    for number, wanted in enumerate(({"mug": 1, "tea": 2}, {"tea": 1}, {"mug": 1})):
        request(running, "o-1", f"r-{number}", **wanted)
        receive(running, "o-1", f"r-{number}", **wanted)
    assert books(running) == {"capture": 5 * PRICE.amount_minor, "refund": 5 * PRICE.amount_minor}
    assert (level(running), level(running, TEA)) == ((ON_THE_SHELF, 0), (ON_THE_SHELF, 0))


def test_return_that_is_worth_nothing_is_refunded_all_the_same(running: Simulation) -> None:
    """Ten mugs for 1 in all: the first one that comes back is worth it, and the second one nothing."""
    begins, until = running.now - timedelta(hours=1), running.now + timedelta(hours=1)
    running.send(ChangePrice(unit_price=Money(amount_minor=1)), key=MUG)
    running.send(AnnouncePromotion(percent_off=90, begins=begins, until=until), key="GIFT")
    running.run_until_quiet()
    mugs = (OrderLine(sku=MUG, quantity=10),)
    deliver(running, "o-1", replace(order(), lines=mugs, promotion_code=PromotionCode("GIFT")))
    for return_id in ("r-1", "r-2"):
        request(running, "o-1", return_id, mug=1)
        receive(running, "o-1", return_id, mug=1)
    amounts = [content["amount"]["amount_minor"] for content in contents(running, "o-1", "ReturnRefunded")]
    assert (amounts, books(running)) == ([1, 0], {"capture": 1, "refund": 1})


def test_return_bears_the_discount_of_its_own_lines_only(running: Simulation) -> None:
    """P54: the tea was 90 % off, so the mug gives back its price."""
    begins, until = running.now - timedelta(hours=1), running.now + timedelta(hours=1)
    running.send(AnnouncePromotion(percent_off=90, skus=(TEA,), begins=begins, until=until), key="TEATIME")
    running.run_until_quiet()
    both = (OrderLine(sku=MUG, quantity=1), OrderLine(sku=TEA, quantity=1))
    deliver(running, "o-1", replace(order(), lines=both, promotion_code=PromotionCode("TEATIME")))
    for return_id, wanted in (("r-1", {"tea": 1}), ("r-2", {"mug": 1})):
        request(running, "o-1", return_id, **wanted)
        receive(running, "o-1", return_id, **wanted)
    amounts = [content["amount"]["amount_minor"] for content in contents(running, "o-1", "ReturnRefunded")]
    assert amounts == [PRICE.amount_minor - PRICE.amount_minor * 9 // 10, PRICE.amount_minor]


def test_returned_units_serve_an_order_that_waits(running: Simulation) -> None:
    """P35: by the parcel of a return."""
    rare = Sku("rare")
    fill_shelves(running, rare, 1)
    deliver(running, "o-1", order(sku=rare, quantity=1))
    running.send(order(sku=rare, quantity=1, allow_backorder=True), key="o-2")
    running.run_until_quiet()
    request(running, "o-1", "r-1", rare=1)
    receive(running, "o-1", "r-1", rare=1)
    ending_of(running, "o-2", SERVED)


def test_window_and_wait_are_settings() -> None:
    with simulation(seed=1, return_window=timedelta(days=1), return_wait=timedelta(hours=1)) as running:
        fill_shelves(running)
        deliver(running, "o-1", order())
        running.advance(hours=23)
        request(running, "o-1", "r-1", mug=1)
        running.advance(hours=2)
        assert running.facts("o-1").count("ReturnLapsed") == 1
        request(running, "o-1", "r-2", mug=1)
        assert refusals(running, "o-1") == ["window_closed"]
