"""How an order has ended when nothing is in flight; asserts that nothing was done twice on the way."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from contexts.bank.hold import Hold
from contexts.inventory.stock import StockItem
from contexts.kernel import OrderId

Said: TypeAlias = Counter[tuple[str, str]]
"""How often each event was published, by (key, event); a cancellation is counted with its reason."""


class Outcome(NamedTuple):
    """The state of an order in every context when nothing is in flight, and who has the money."""

    order: str
    reservation: str
    payment: str
    shipment: str
    bank: str
    reason: str | None = None


ONCE = (
    "OrderPlaced", "OrderConfirmed", "ShipmentRecorded", "InventoryReserved", "InventoryReleased", "StockCommitted",
    "StockWrittenOff", "CaptureRequested", "PaymentSucceeded", "PaymentFailed", "PaymentVoided", "PaymentRefunded",
    "DeliveryScheduled", "DispatchRequested", "OrderShipped", "ShipmentCancelled", "ShipmentFailed", "OrderDelivered",
)  # fmt: skip
"""The events that are published at most once for an order."""


def outcome_of(order: OrderId, states: Mapping[str, Any], said: Said, bank: Mapping[str, Any]) -> Outcome:
    """The outcome of an order, by the states of all contexts and of the bank."""
    for event in ONCE:
        assert said[order, event] <= 1, f"{event} was published {said[order, event]} times"
    reasons = [fact.partition(" ")[2] for key, fact in said if key == order and fact.startswith("OrderCancelled ")]
    assert len(reasons) <= 1, f"cancelled for {reasons}"
    return Outcome(
        states[f"order-{order}"].status,
        states[f"reservation-{order}"].status,
        states[f"payment-{order}"].status,
        states[f"shipment-{order}"].status,
        bank.get(f"hold-pay-{order}", Hold()).status,
        reasons[0] if reasons else None,
    )


def check_stock(state: object) -> None:
    """Assert that no more is reserved than is on hand, where the state is that of an article."""
    if isinstance(state, StockItem):
        assert 0 <= state.reserved <= state.on_hand, state
