"""The settings of insights."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class InsightsSettings(Settings, frozen=True, kw_only=True):
    """When an article is low, and whether a query has to name its customer."""

    stock_low_within: Annotated[
        timedelta, Meta(description="an article that runs out within this time at its present sales is low")
    ] = timedelta(days=1)
    require_actor: Annotated[
        bool, Meta(description="whether a command or a query about a customer's things has to name them in Acting-For")
    ] = False
