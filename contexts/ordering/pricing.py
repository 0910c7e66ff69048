"""Prices the lines of an order or a basket: the unit price of each, the discount of a promotion, and the total.

A domain service: orders and baskets have the same rules. Pure: no I/O, clock, randomness or logging.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import MINOR_UNITS_AT_MOST, QUANTITY_AT_MOST, Line, Money, Sku, SkuQuantity
from contexts.ordering.commands import OrderLine
from contexts.ordering.events import PromotionAnnounced
from contexts.ordering.price import ListedPrice
from contexts.ordering.promotion import Promotion
from shared.context import Detail, Rejected


class Quote(Struct, frozen=True, kw_only=True):
    """Lines with their prices; the total is their sum less the discount, which is the sum of the lines' discounts."""

    lines: tuple[Line, ...]
    discount: int
    total: Money


def quote(
    wanted: Sequence[OrderLine],
    prices: Mapping[Sku, ListedPrice],
    promotion: Promotion | None,
    *,
    at: datetime,
    honoured: timedelta,
    currency: str,
    beside: Mapping[Sku, int] | None = None,
) -> Quote | Rejected:
    """Price the lines as of `at`, or name every line that cannot be sold.

    A line that names a price gets it when it is the current price, or was valid at most `honoured` before `at`. A
    promotion below its minimum total gives no discount. The discount is rounded down to whole minor units. `beside` are
    the units that the order has before these lines: they count for the bound of units, not for the total.
    """
    terms = None if promotion is None else promotion.valid_at(at)
    if promotion is not None and terms is None:
        return Rejected.at("unknown_promotion", "$.promotion_code", "there is no such promotion now")
    if refused := _refused(wanted, prices, at, honoured, currency, Counter(beside)):
        return refused
    lines = tuple(
        Line(sku=line.sku, quantity=line.quantity, unit_price=line.unit_price or _listed(prices, line.sku))
        for line in wanted
    )
    total_minor = _sum_minor(lines)
    if total_minor > MINOR_UNITS_AT_MOST:
        problem = f"they come to more than {MINOR_UNITS_AT_MOST} minor units"
        return Rejected.at("total_too_large", "$.lines", problem)
    if terms is not None:
        lines = _discounted(lines, total_minor, terms)
    discount = sum(line.discount for line in lines)
    return Quote(lines=lines, discount=discount, total=Money(amount_minor=total_minor - discount, currency=currency))


def quote_basket(
    lines: Sequence[SkuQuantity],
    prices: Mapping[Sku, ListedPrice],
    currency: str,
    *,
    promotion: Promotion | None = None,
    at: datetime | None = None,
    beside: Mapping[Sku, int] | None = None,
) -> Quote | Rejected:
    """Price the lines of a basket, which may be empty, at their current prices.

    A promotion needs `at`, the time of the decision.
    """
    if not lines:
        return Quote(lines=(), discount=0, total=Money(amount_minor=0, currency=currency))
    wanted = [OrderLine(sku=line.sku, quantity=line.quantity) for line in lines]
    now = at or datetime.max
    return quote(wanted, prices, promotion, at=now, honoured=timedelta(0), currency=currency, beside=beside)


def _refused(
    wanted: Sequence[OrderLine],
    prices: Mapping[Sku, ListedPrice],
    at: datetime,
    honoured: timedelta,
    currency: str,
    units: Counter[Sku],
) -> Rejected | None:
    unknown: list[Detail] = []
    foreign: list[Detail] = []
    changed: list[Detail] = []
    for number, line in enumerate(wanted):
        path = f"$.lines[{number}]"
        listed, given = prices[line.sku].unit_price, line.unit_price
        units[line.sku] += line.quantity
        if listed is None:
            unknown.append(Detail(path=f"{path}.sku", message=f"there is no {line.sku} in this shop"))
        elif given is not None and given.currency != currency:
            foreign.append(Detail(path=f"{path}.unit_price.currency", message=f"the shop charges in {currency}"))
        elif given is not None and not prices[line.sku].takes(given, at=at, honoured=honoured):
            changed.append(Detail(path=f"{path}.unit_price", message=f"the price of {line.sku} is {_told(listed)}"))
        elif given is None and listed.currency != currency:
            problem = f"{line.sku} costs {_told(listed)}, and the shop charges in {currency}; change its price"
            foreign.append(Detail(path=f"{path}.sku", message=problem))
        if units[line.sku] > QUANTITY_AT_MOST:
            problem = f"an order has at most {QUANTITY_AT_MOST} units of one sku"
            return Rejected.at("too_many_units", f"{path}.quantity", problem)
    if unknown:
        return Rejected(reason="unknown_sku", details=tuple(unknown))
    if foreign:
        return Rejected(reason="wrong_currency", details=tuple(foreign))
    return Rejected(reason="price_changed", details=tuple(changed)) if changed else None


def _sum_minor(lines: Sequence[Line]) -> int:
    return sum(line.quantity * line.unit_price.amount_minor for line in lines)


def _discounted(lines: tuple[Line, ...], total_minor: int, promotion: PromotionAnnounced) -> tuple[Line, ...]:
    """Take the percentage off each promoted line, rounded so that the discounts come to that of their sum."""
    if promotion.minimum_total is not None and total_minor < promotion.minimum_total.amount_minor:
        return lines
    promoted_minor = given_minor = 0
    discounted: list[Line] = []
    for line in lines:
        if not promotion.skus or line.sku in promotion.skus:
            promoted_minor += _sum_minor([line])
            discount = promoted_minor * promotion.percent_off // 100 - given_minor
            given_minor += discount
            line = replace(line, discount=discount)
        discounted.append(line)
    return tuple(discounted)


def _listed(prices: Mapping[Sku, ListedPrice], sku: Sku) -> Money:
    listed = prices[sku].unit_price
    assert listed is not None, sku
    return listed


def _told(price: Money) -> str:
    return f"{price.amount_minor} minor units of {price.currency}"
