"""What payments can be asked by a client."""

from typing import Annotated

from msgspec import Struct

from contexts.kernel import OrderId
from shared.wire.messages import FROM_SUBJECT


class RetryRefund(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask the bank for a refused refund again now, without waiting for the timer."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
