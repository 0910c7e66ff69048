"""The settings of shipping."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class ShippingSettings(Settings, frozen=True, kw_only=True):
    """The wait between the scheduling of a parcel and its dispatch, and the wait for news of it."""

    dispatch_delay: Annotated[timedelta, Meta(description="how long a parcel waits for its carrier")] = timedelta(0)
    parcel_silence: Annotated[timedelta, Meta(description="after this time without news a parcel is overdue")] = (
        timedelta(days=14)
    )
