"""The settings of inventory."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class InventorySettings(Settings, frozen=True, kw_only=True):
    """The time for which an order may wait for units that are short."""

    backorder_wait: Annotated[timedelta, Meta(description="how long an order waits for stock that is short")] = (
        timedelta(hours=72)
    )
