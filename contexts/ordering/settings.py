"""The settings of ordering."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class OrderingSettings(Settings, frozen=True, kw_only=True):
    """The time for which an order may stay pending, and the currency of its prices."""

    order_deadline: Annotated[timedelta, Meta(description="an order not confirmed by then expires")] = timedelta(
        minutes=15
    )
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", description="the currency of the shop")] = "EUR"
