"""At which price the shop sells one article: as inventory registered it, until the price is changed.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Former prices are remembered with the
time until which they were valid, because a customer may order at the price that the shop showed a moment ago.
"""

from datetime import datetime, timedelta
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import Money
from contexts.ordering.commands import ChangePrice, ListPrice, PriceCommand
from contexts.ordering.events import PriceChanged, PriceEvent, PriceListed
from shared.context import Rejected

FORMER_PRICES_AT_MOST = 1_000
"""An older price is forgotten, however lately it was valid: this is one each second for a quarter of an hour."""

FORMER_PRICES_ONCE = 16
"""The number of former prices that count after a change without `honoured_since`, which an older release published."""


class FormerPrice(Struct, frozen=True, kw_only=True):
    """A price that was valid until that time."""

    unit_price: Money
    until: datetime


class ListedPrice(Struct, frozen=True, kw_only=True):
    """The price of one article; None when the article is unknown. `former` has the newest first."""

    status: Literal["UNKNOWN", "LISTED"] = "UNKNOWN"
    unit_price: Money | None = None
    former: tuple[FormerPrice, ...] = ()

    def takes(self, given: Money, *, at: datetime, honoured: timedelta) -> bool:
        """Whether a price is the current one, or was valid at most `honoured` before `at`."""
        if given == self.unit_price:
            return True
        return any(price.unit_price == given and price.until + honoured >= at for price in self.former)


def decide(
    command: PriceCommand, price: ListedPrice, *, currency: str, honoured: timedelta
) -> tuple[PriceEvent | Rejected, ...]:
    """Decide on the command: no event when the price is the same, or was listed before."""
    match command:
        case ListPrice():
            if price.unit_price is not None:
                return ()
            return (PriceListed(sku=command.sku, unit_price=command.unit_price),)
        case ChangePrice():
            if price.unit_price is None:
                return (Rejected.at("unknown_sku", "$", f"there is no {command.sku}; inventory registers articles"),)
            if command.unit_price.currency != currency:
                return (Rejected.at("wrong_currency", "$.unit_price.currency", f"the shop charges in {currency}"),)
            if command.unit_price == price.unit_price:
                return ()
            changed = PriceChanged(
                sku=command.sku,
                unit_price=command.unit_price,
                previous=price.unit_price,
                changed_at=command.asked_at,
                honoured_since=command.asked_at - honoured,
            )
            return (changed,)
        case _:
            assert_never(command)


def evolve(price: ListedPrice, event: PriceEvent) -> ListedPrice:
    """The price after one of its events."""
    match event:
        case PriceListed():
            assert price.unit_price is None, price
            return ListedPrice(status="LISTED", unit_price=event.unit_price)
        case PriceChanged():
            assert price.unit_price == event.previous, price
            return replace(price, unit_price=event.unit_price, former=_former(price, event))
        case _:
            assert_never(event)


def _former(price: ListedPrice, event: PriceChanged) -> tuple[FormerPrice, ...]:
    """The prices that an order may still name after a change."""
    former = (FormerPrice(unit_price=event.previous, until=event.changed_at), *price.former)
    since = event.honoured_since
    if since is None:
        return former[:FORMER_PRICES_ONCE]
    return tuple(one for one in former if one.until >= since)[:FORMER_PRICES_AT_MOST]
