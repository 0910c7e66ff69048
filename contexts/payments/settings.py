"""The settings of payments."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class PaymentsSettings(Settings, frozen=True, kw_only=True):
    """How patient payments is with the bank."""

    refund_retry_delay: Annotated[timedelta, Meta(description="when to try a failed refund again")] = timedelta(
        seconds=30
    )
