"""The settings of the bank."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class BankSettings(Settings, frozen=True, kw_only=True):
    """The bank's delay for tokens that ask for one."""

    bank_slow: Annotated[timedelta, Meta(description="how long the bank takes over a tok_slow… token")] = timedelta(
        seconds=2
    )
