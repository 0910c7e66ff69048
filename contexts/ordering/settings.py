"""The settings of ordering."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class OrderingSettings(Settings, frozen=True, kw_only=True):
    """How long orders, baskets and returns may wait and former prices count, and the currency of the prices."""

    order_deadline: Annotated[timedelta, Meta(description="an order not confirmed by then expires")] = timedelta(
        minutes=15
    )
    require_actor: Annotated[
        bool, Meta(description="whether a command or a query about a customer's things has to name them in Acting-For")
    ] = False
    price_honoured: Annotated[
        timedelta, Meta(description="how long after a change of price an order may still name the former one")
    ] = timedelta(minutes=15)
    basket_idle: Annotated[timedelta, Meta(description="a basket is abandoned this long after its last change")] = (
        timedelta(hours=24)
    )
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="the currency of the shop")] = "EUR"
    return_window: Annotated[timedelta, Meta(description="how long after its delivery an order may be returned")] = (
        timedelta(days=30)
    )
    return_wait: Annotated[timedelta, Meta(description="how long the shop waits for the parcel of a return")] = (
        timedelta(days=14)
    )
