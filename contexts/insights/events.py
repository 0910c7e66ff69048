"""The events of insights: a window of figures is closed, an article runs short. Both follow from EVENTS alone."""

from datetime import datetime
from typing import Annotated

from msgspec import Struct

from contexts.kernel import Money, Sku
from shared.wire.messages import TOLD


class Cancelled(Struct, frozen=True, kw_only=True):
    """The number of orders that were cancelled for one reason."""

    reason: str
    orders: int


class WindowClosed(Struct, frozen=True, kw_only=True):
    """The figures of a minute or an hour are final: published once for each, however late the last event of it came.

    `orders` were placed from `begins_at` and before `ends_at`; `revenue` was captured, `refunded` given back.
    """

    window_id: str
    begins_at: Annotated[datetime, TOLD]
    ends_at: datetime
    orders: int
    revenue: tuple[Money, ...]
    refunded: tuple[Money, ...]
    cancelled: tuple[Cancelled, ...]


class StockLow(Struct, frozen=True, kw_only=True):
    """At the rate at which it has left so far, the article runs out at `runs_out_at`; `number` counts from 1.

    Published again only after there was enough again.
    """

    sku: Annotated[Sku, TOLD]
    available: int
    units_per_day: int
    runs_out_at: Annotated[datetime, TOLD]
    number: int
