"""The settings of payments."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class PaymentsSettings(Settings, frozen=True, kw_only=True):
    """The wait before payments asks the bank again for a refused refund."""

    refund_retry_delay: Annotated[timedelta, Meta(description="when to try a failed refund again")] = timedelta(
        seconds=30
    )
