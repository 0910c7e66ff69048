"""The decisions about the price list and about promotions."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from contexts.kernel import Money, Sku
from contexts.ordering import price, promotion
from contexts.ordering.commands import AnnouncePromotion, ChangePrice, EndPromotion, ListPrice
from contexts.ordering.events import (
    PriceChanged,
    PriceEvent,
    PriceListed,
    PromotionAnnounced,
    PromotionCode,
    PromotionEnded,
    PromotionEvent,
)
from contexts.ordering.policies import whenever_stock_item_registered_list_its_price
from contexts.ordering.upstream import StockItemRegistered
from shared.context import Rejected
from shared.wire.bodies import MalformedBodyError
from tests.unit.ordering.listing import priced, promoted

MUG = Sku("mug")
CHEAP, DEAR = Money(amount_minor=1250), Money(amount_minor=1400)
NINE, TEN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC), datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LIST = ListPrice(sku=MUG, unit_price=CHEAP)
CHANGE = ChangePrice(sku=MUG, unit_price=DEAR, asked_at=NINE)
LISTED = PriceListed(sku=MUG, unit_price=CHEAP)
HONOURED = timedelta(minutes=15)
CHANGED = PriceChanged(
    sku=MUG, unit_price=DEAR, previous=CHEAP, changed_at=NINE, honoured_since=datetime(2026, 11, 21, 8, 45, tzinfo=UTC)
)

SPRING = PromotionCode("SPRING")
ANNOUNCE = AnnouncePromotion(code=SPRING, percent_off=20, skus=(MUG,), begins=NINE, until=TEN)
END = EndPromotion(code=SPRING)
ANNOUNCED = PromotionAnnounced(code=SPRING, percent_off=20, skus=(MUG,), begins=NINE, until=TEN, minimum_total=None)
ENDED = PromotionEnded(code=SPRING)


def of_price(command: ListPrice | ChangePrice, *events: PriceEvent) -> tuple[object, ...]:
    return price.decide(command, priced(*events)[MUG], currency="EUR", honoured=HONOURED)


def of_promotion(command: AnnouncePromotion | EndPromotion, *events: PromotionEvent) -> tuple[object, ...]:
    return promotion.decide(command, promoted(*events)[SPRING], currency="EUR")


def test_registered_article_is_listed_at_its_price() -> None:
    (command,) = whenever_stock_item_registered_list_its_price(StockItemRegistered(sku=MUG, unit_price=CHEAP))
    assert of_price(command) == (LISTED,)


def test_article_is_listed_once_whatever_its_price_is_now() -> None:
    assert of_price(LIST, LISTED) == ()
    assert of_price(LIST, LISTED, CHANGED) == ()


def test_change_of_price_tells_the_one_before() -> None:
    assert of_price(CHANGE, LISTED) == (CHANGED,)


def test_change_to_the_same_price_is_quiet() -> None:
    assert of_price(CHANGE, LISTED, CHANGED) == ()


def test_price_of_an_unknown_article_is_not_changed() -> None:
    (refused,) = of_price(CHANGE)
    assert isinstance(refused, Rejected)
    assert refused.reason == "unknown_sku"


def test_price_in_another_currency_is_refused() -> None:
    (refused,) = of_price(replace(CHANGE, unit_price=Money(amount_minor=1, currency="USD")), LISTED)
    assert refused == Rejected.at("wrong_currency", "$.unit_price.currency", "the shop charges in EUR")


def test_price_of_nothing_is_malformed() -> None:
    with pytest.raises(MalformedBodyError, match=r"a price is more than 0 - at `\$\.unit_price\.amount_minor`"):
        replace(CHANGE, unit_price=Money(amount_minor=0))


def test_promotion_is_announced_once() -> None:
    assert of_promotion(ANNOUNCE) == (ANNOUNCED,)
    assert of_promotion(ANNOUNCE, ANNOUNCED) == ()


def test_promotion_is_ended_once() -> None:
    assert of_promotion(END, ANNOUNCED) == (ENDED,)
    assert of_promotion(END, ANNOUNCED, ENDED) == ()


@pytest.mark.parametrize(
    ("command", "events", "reason"),
    [
        (END, (), "unknown_promotion"),
        (replace(ANNOUNCE, percent_off=30), (ANNOUNCED,), "announced_otherwise"),
        (ANNOUNCE, (ANNOUNCED, ENDED), "promotion_ended"),
        (replace(ANNOUNCE, until=NINE), (), "ends_before_it_begins"),
        (replace(ANNOUNCE, minimum_total=Money(amount_minor=1, currency="USD")), (), "wrong_currency"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_promotion_command_that_cannot_be_obeyed_is_refused(
    command: AnnouncePromotion | EndPromotion, events: tuple[PromotionEvent, ...], reason: str
) -> None:
    (refused,) = of_promotion(command, *events)
    assert isinstance(refused, Rejected)
    assert refused.reason == reason
