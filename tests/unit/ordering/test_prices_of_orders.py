"""The price of an order is the shop's: unknown articles, changed prices, promotions, and bounds (F27)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, CustomerId, MethodToken, Money, OrderId, Sku
from contexts.ordering.commands import OrderLine, PlaceOrder
from contexts.ordering.events import (
    OrderPlaced,
    PriceChanged,
    PriceListed,
    PromotionAnnounced,
    PromotionCode,
    PromotionEnded,
)
from contexts.ordering.order import Order, decide, evolve
from contexts.ordering.price import FORMER_PRICES_AT_MOST, ListedPrice
from contexts.ordering.promotion import Promotion
from shared.context import Detail, Rejected
from tests.unit.ordering.listing import priced, promoted

MUG, TEA, PIN, HOUSE = Sku("mug"), Sku("tea"), Sku("pin"), Sku("house")
NINE = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
A_MOMENT = timedelta(microseconds=1)
SPRING = PromotionCode("SPRING")

LISTED = (
    PriceListed(sku=MUG, unit_price=Money(amount_minor=1250)),
    PriceListed(sku=TEA, unit_price=Money(amount_minor=499)),
    PriceListed(sku=PIN, unit_price=Money(amount_minor=1)),
    PriceListed(sku=HOUSE, unit_price=Money(amount_minor=10**12)),
)
PRICES = priced(*LISTED)
DEARER_AT_NINE = PriceChanged(
    sku=MUG, unit_price=Money(amount_minor=1400), previous=Money(amount_minor=1250), changed_at=NINE
)
TEN_PERCENT = PromotionAnnounced(
    code=SPRING, percent_off=10, skus=(), begins=NINE, until=NINE + QUARTER, minimum_total=None
)
NO_PROMOTION = promoted()


def line(sku: Sku, quantity: int = 1, unit_price: int | None = None, currency: str = "EUR") -> OrderLine:
    price = None if unit_price is None else Money(amount_minor=unit_price, currency=currency)
    return OrderLine(sku=sku, quantity=quantity, unit_price=price)


def place(*lines: OrderLine, at: datetime = NINE, code: PromotionCode | None = None) -> PlaceOrder:
    return PlaceOrder(
        order_id=OrderId("o-42"),
        customer_id=CustomerId("c-7"),
        email="ada@shop.example",
        lines=lines,
        address=Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB"),
        method_token=MethodToken("tok_ok"),
        promotion_code=code,
        asked_at=at,
    )


def answer(
    command: PlaceOrder,
    order: Order | None = None,
    *,
    prices: Mapping[Sku, ListedPrice] = PRICES,
    promotions: Mapping[PromotionCode, Promotion] = NO_PROMOTION,
) -> tuple[object, ...]:
    return decide(
        command,
        order or Order(),
        prices,
        promotions,
        order_deadline=QUARTER,
        price_honoured=QUARTER,
        currency="EUR",
    )


def placed(
    command: PlaceOrder,
    *,
    prices: Mapping[Sku, ListedPrice] = PRICES,
    promotions: Mapping[PromotionCode, Promotion] = NO_PROMOTION,
) -> OrderPlaced:
    (event,) = answer(command, prices=prices, promotions=promotions)
    assert isinstance(event, OrderPlaced), event
    return event


def rejected(
    command: PlaceOrder,
    *,
    prices: Mapping[Sku, ListedPrice] = PRICES,
    promotions: Mapping[PromotionCode, Promotion] = NO_PROMOTION,
) -> Rejected:
    (refusal,) = answer(command, prices=prices, promotions=promotions)
    assert isinstance(refusal, Rejected), refusal
    return refusal


def test_order_without_prices_has_the_prices_of_the_shop() -> None:
    order = placed(place(line(MUG, 2), line(TEA)))
    assert [bought.unit_price.amount_minor for bought in order.lines] == [1250, 499]
    assert (order.discount, order.total) == (0, Money(amount_minor=2999))


def test_order_at_the_current_price_is_the_order_without_a_price() -> None:
    assert placed(place(line(MUG, unit_price=1250))) == placed(place(line(MUG)))


def test_price_that_is_not_the_shops_is_refused_with_the_current_one() -> None:
    refused = rejected(place(line(TEA), line(MUG, unit_price=1)))
    detail = Detail(path="$.lines[1].unit_price", message="the price of mug is 1250 minor units of EUR")
    assert refused == Rejected(reason="price_changed", details=(detail,))


def test_every_line_with_another_price_is_named() -> None:
    refused = rejected(place(line(MUG, unit_price=1), line(TEA, unit_price=499), line(PIN, unit_price=2)))
    assert [detail.path for detail in refused.details] == ["$.lines[0].unit_price", "$.lines[2].unit_price"]


def test_every_unknown_article_is_named() -> None:
    refused = rejected(place(line(Sku("cup")), line(MUG), line(Sku("jar"), unit_price=5)))
    assert refused == Rejected(
        reason="unknown_sku",
        details=(
            Detail(path="$.lines[0].sku", message="there is no cup in this shop"),
            Detail(path="$.lines[2].sku", message="there is no jar in this shop"),
        ),
    )


@pytest.mark.parametrize("at", [NINE - QUARTER, NINE, NINE + QUARTER], ids=["before", "at once", "just in time"])
def test_former_price_is_honoured_for_a_while(at: datetime) -> None:
    order = placed(place(line(MUG, 2, 1250), at=at), prices=priced(*LISTED, DEARER_AT_NINE))
    assert order.total == Money(amount_minor=2500)


def test_former_price_is_refused_after_that() -> None:
    late = place(line(MUG, 2, 1250), at=NINE + QUARTER + A_MOMENT)
    refused = rejected(late, prices=priced(*LISTED, DEARER_AT_NINE))
    assert (refused.reason, refused.details[0].path) == ("price_changed", "$.lines[0].unit_price")
    assert refused.details[0].message == "the price of mug is 1400 minor units of EUR"


def test_order_without_a_price_has_the_new_one_at_once() -> None:
    order = placed(place(line(MUG)), prices=priced(*LISTED, DEARER_AT_NINE))
    assert order.total == Money(amount_minor=1400)


def test_price_that_came_back_is_the_current_price() -> None:
    back = PriceChanged(
        sku=MUG, unit_price=DEARER_AT_NINE.previous, previous=DEARER_AT_NINE.unit_price, changed_at=NINE
    )
    prices = priced(*LISTED, DEARER_AT_NINE, back)
    assert placed(place(line(MUG, unit_price=1250), at=NINE + 2 * QUARTER), prices=prices).total.amount_minor == 1250
    assert placed(place(line(MUG, unit_price=1400)), prices=prices).total.amount_minor == 1400


def changes_of_tea(number: int, *, apart: timedelta, since: timedelta | None) -> list[PriceChanged]:
    """Changes of the price by 1 each, the first one from 499 at nine."""
    times = [NINE + count * apart for count in range(number)]
    return [
        PriceChanged(
            sku=TEA,
            unit_price=Money(amount_minor=500 + count),
            previous=Money(amount_minor=499 + count),
            changed_at=at,
            honoured_since=None if since is None else at - since,
        )
        for count, at in enumerate(times)
    ]


def test_former_price_is_honoured_however_many_changes_follow_it() -> None:
    """A price each second, for five minutes."""
    prices = priced(*LISTED, *changes_of_tea(300, apart=timedelta(seconds=1), since=QUARTER))
    assert placed(place(line(TEA, unit_price=499), at=NINE + QUARTER), prices=prices).total.amount_minor == 499


def test_price_that_is_not_honoured_any_more_is_forgotten_at_the_next_change() -> None:
    prices = priced(*LISTED, *changes_of_tea(100, apart=QUARTER, since=QUARTER))
    assert [former.unit_price.amount_minor for former in prices[TEA].former] == [598, 597]


@pytest.mark.parametrize(
    ("since", "most"), [(QUARTER, FORMER_PRICES_AT_MOST), (None, 16)], ids=["now", "of an earlier release"]
)
def test_only_so_many_former_prices_are_remembered(since: timedelta | None, most: int) -> None:
    prices = priced(*LISTED, *changes_of_tea(most + 1, apart=timedelta(0), since=since))
    assert placed(place(line(TEA, unit_price=500)), prices=prices).total.amount_minor == 500
    assert rejected(place(line(TEA, unit_price=499)), prices=prices).reason == "price_changed"


def test_price_in_another_currency_is_refused_at_its_line() -> None:
    refused = Rejected.at("wrong_currency", "$.lines[1].unit_price.currency", "the shop charges in EUR")
    assert rejected(place(line(MUG), line(TEA, unit_price=499, currency="USD"))) == refused


def test_article_that_was_registered_in_another_currency_is_refused_at_its_line() -> None:
    prices = priced(PriceListed(sku=MUG, unit_price=Money(amount_minor=1250, currency="USD")))
    refused = rejected(place(line(MUG)), prices=prices)
    assert (refused.reason, refused.details[0].path) == ("wrong_currency", "$.lines[0].sku")


def test_order_of_more_units_of_one_sku_than_any_message_carries_is_refused() -> None:
    assert placed(place(line(PIN, 1_000_000))).total.amount_minor == 1_000_000
    refused = rejected(place(line(PIN, 1_000_000), line(MUG), line(PIN)))
    assert (refused.reason, refused.details[0].path) == ("too_many_units", "$.lines[2].quantity")


def test_order_that_costs_more_than_any_message_carries_is_refused() -> None:
    assert placed(place(line(HOUSE))).total.amount_minor == 10**12
    refused = rejected(place(line(HOUSE), line(TEA)))
    assert (refused.reason, refused.details[0].path) == ("total_too_large", "$.lines")


@pytest.mark.parametrize("asked", [None, 1250], ids=["without a price", "at its price"])
def test_order_asked_again_after_a_change_of_price_is_quiet(asked: int | None) -> None:
    order = evolve(Order(), placed(place(line(MUG, unit_price=1250))))
    later = place(line(MUG, unit_price=asked), at=NINE + timedelta(days=1))
    assert answer(later, order, prices=priced(*LISTED, DEARER_AT_NINE)) == ()
    assert answer(later, order, prices=priced()) == ()


def test_promotion_takes_its_part_off_the_total() -> None:
    order = placed(place(line(MUG, 2), line(TEA), code=SPRING), promotions=promoted(TEN_PERCENT))
    assert (order.discount, order.total, order.promotion_code) == (299, Money(amount_minor=2700), SPRING)


def test_promotion_of_some_articles_leaves_the_others_as_they_are() -> None:
    on_tea = replace(TEN_PERCENT, skus=(TEA,))
    order = placed(place(line(MUG, 2), line(TEA), code=SPRING), promotions=promoted(on_tea))
    assert (order.discount, order.total) == (49, Money(amount_minor=2950))
    assert [bought.discount for bought in order.lines] == [0, 49]


def test_discounts_of_the_lines_come_to_that_of_their_sum_however_they_are_rounded() -> None:
    order = placed(place(line(TEA), line(MUG), line(TEA), code=SPRING), promotions=promoted(TEN_PERCENT))
    assert (order.discount, [bought.discount for bought in order.lines]) == (224, [49, 125, 50])


def test_promotion_counts_from_its_minimum_total() -> None:
    from_25 = promoted(replace(TEN_PERCENT, minimum_total=Money(amount_minor=2500)))
    assert placed(place(line(MUG, 2), code=SPRING), promotions=from_25).discount == 250
    assert placed(place(line(MUG), line(TEA), code=SPRING), promotions=from_25).discount == 0


@pytest.mark.parametrize(
    ("at", "promotions"),
    [
        (NINE, NO_PROMOTION),
        (NINE - A_MOMENT, promoted(TEN_PERCENT)),
        (NINE + QUARTER, promoted(TEN_PERCENT)),
        (NINE, promoted(TEN_PERCENT, PromotionEnded(code=SPRING))),
    ],
    ids=["unknown", "not begun", "over", "ended"],
)
def test_promotion_that_is_not_valid_now_is_refused(
    at: datetime, promotions: Mapping[PromotionCode, Promotion]
) -> None:
    refused = Rejected.at("unknown_promotion", "$.promotion_code", "there is no such promotion now")
    assert rejected(place(line(MUG), at=at, code=SPRING), promotions=promotions) == refused
