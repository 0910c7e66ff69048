"""Price lists and promotions as the fold of their events, for the tests of ordering."""

from collections import defaultdict
from collections.abc import Mapping

from contexts.kernel import Sku
from contexts.ordering import price, promotion
from contexts.ordering.events import PriceEvent, PromotionCode, PromotionEvent
from contexts.ordering.price import ListedPrice
from contexts.ordering.promotion import Promotion


def priced(*events: PriceEvent) -> Mapping[Sku, ListedPrice]:
    """The price list after these events; an article without one is unknown."""
    found: defaultdict[Sku, ListedPrice] = defaultdict(ListedPrice)
    for event in events:
        found[event.sku] = price.evolve(found[event.sku], event)
    return found


def promoted(*events: PromotionEvent) -> Mapping[PromotionCode, Promotion]:
    """The promotions after these events; a code without one is unknown."""
    found: defaultdict[PromotionCode, Promotion] = defaultdict(Promotion)
    for event in events:
        found[event.code] = promotion.evolve(found[event.code], event)
    return found
