"""Whether lines of a delivered order may come back, and what becomes of each return.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A return is decided together with its
order, which counts the returned units over all returns for ever: the units of a lapsed return too, because its parcel
may still come and is then refunded. Each return has its own time; the timers of the order stand at the earliest.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import OrderId, Sku, SkuQuantity, merged, units_of
from contexts.ordering.commands import (
    LapseReturns,
    RecordReturnReceipt,
    RecordReturnRefund,
    RequestReturn,
    ReturnCommand,
)
from contexts.ordering.events import (
    NextReturnExpected,
    ReturnCounted,
    ReturnEvent,
    ReturnLapsed,
    ReturnReceiptRecorded,
    ReturnRefunded,
    ReturnRequested,
)
from contexts.ordering.order import Order, not_yours
from shared.context import Rejected

RETURNS_AT_MOST = 20
"""An order has no more returns, so that its state stays small."""

ReturnStatus: TypeAlias = Literal["UNKNOWN", "REQUESTED", "LAPSED", "RECEIVED", "REFUNDED"]


class Return(Struct, frozen=True, kw_only=True):
    """One return of an order; `lines` are those that came, once the parcel is here."""

    status: ReturnStatus = "UNKNOWN"
    lines: tuple[SkuQuantity, ...] = ()
    requested: ReturnRequested | None = None


def orders_of(command: ReturnCommand) -> tuple[OrderId, ...]:
    """The orders that the decision reads."""
    return (command.order_id,) if isinstance(command, RequestReturn) else ()


def decide(
    command: ReturnCommand,
    state: Return,
    orders: Mapping[str, Order],
    *,
    return_window: timedelta,
    return_wait: timedelta,
    require_actor: bool = False,
) -> tuple[ReturnEvent | ReturnCounted | Rejected, ...]:
    """Decide on the command: no event when it was answered before, or when the return is past it."""
    order_id, return_id = command.order_id, command.return_id
    match command:
        case RequestReturn():
            if require_actor and (refused := not_yours(command, orders[order_id])):
                return (refused,)
            return _request(command, state, orders[order_id], return_window, return_wait)
        case RecordReturnReceipt() if state.status in ("REQUESTED", "LAPSED"):
            return (ReturnReceiptRecorded(order_id=order_id, return_id=return_id, lines=command.lines),)
        case RecordReturnRefund() if state.status in ("REQUESTED", "LAPSED", "RECEIVED"):
            refunded = ReturnRefunded(order_id=order_id, return_id=return_id, lines=state.lines, amount=command.amount)
            return (refunded,)
        case RecordReturnReceipt() | RecordReturnRefund():
            return ()
        case _:
            assert_never(command)


def lapse(
    command: LapseReturns, order: Order, returns: Mapping[tuple[str, str], Return]
) -> tuple[ReturnLapsed | NextReturnExpected, ...]:
    """Let each return lapse whose parcel was expected by now and is not here; say when the next one is due."""
    expected = [
        state.requested
        for state in (returns[command.order_id, return_id] for return_id in order.returns)
        if state.status == "REQUESTED" and state.requested is not None
    ]
    lapsed = tuple(
        ReturnLapsed(order_id=command.order_id, return_id=one.return_id, lines=one.lines)
        for one in expected
        if one.expires_at <= command.due_at
    )
    next_at = min((one.expires_at for one in expected if one.expires_at > command.due_at), default=None)
    if next_at is None or next_at == order.returns_due_at:
        return lapsed
    return (*lapsed, NextReturnExpected(order_id=command.order_id, expires_at=next_at))


def evolve(state: Return, event: ReturnEvent) -> Return:
    """The return after one of its events."""
    match event:
        case ReturnRequested():
            assert state.status == "UNKNOWN", state.status
            return Return(status="REQUESTED", lines=event.lines, requested=event)
        case ReturnReceiptRecorded():
            assert state.status in ("REQUESTED", "LAPSED"), state.status
            return replace(state, status="RECEIVED", lines=event.lines)
        case ReturnRefunded():
            assert state.status in ("REQUESTED", "LAPSED", "RECEIVED"), state.status
            return replace(state, status="REFUNDED")
        case ReturnLapsed():
            assert state.status == "REQUESTED", state.status
            return replace(state, status="LAPSED")
        case _:
            assert_never(event)


def _request(
    command: RequestReturn, state: Return, order: Order, return_window: timedelta, return_wait: timedelta
) -> tuple[ReturnRequested | ReturnCounted | Rejected, ...]:
    lines = merged(command.lines)
    if state.requested is not None:
        if (state.requested.lines, state.requested.reason) == (lines, command.reason):
            return ()
        return (Rejected.at("id_known_otherwise", "$.return_id", "it is another return; use a new id"),)
    refused = _refused(command, order, return_window)
    if refused is not None:
        return (refused,)
    expires_at = command.asked_at + return_wait
    requested = ReturnRequested(
        order_id=command.order_id,
        return_id=command.return_id,
        lines=lines,
        reason=command.reason,
        expires_at=expires_at,
    )
    counted = ReturnCounted(
        order_id=command.order_id,
        return_id=command.return_id,
        lines=lines,
        expires_at=min(expires_at, order.returns_due_at or expires_at),
    )
    return (requested, counted)


def _refused(command: RequestReturn, order: Order, return_window: timedelta) -> Rejected | None:
    if order.status != "DELIVERED" or order.placed is None:
        return Rejected.at("not_delivered", "$", f"the order is {order.status}")
    closes_at = window_closes_at(order, return_window)
    if command.asked_at > closes_at:
        return Rejected.at("window_closed", "$", f"it could be returned until {closes_at.isoformat()}")
    if len(order.returns) >= RETURNS_AT_MOST:
        return Rejected.at("too_many", "$", f"the order has {RETURNS_AT_MOST} returns, which is the most")
    bought = units_of(order.placed.lines)
    units: Counter[Sku] = Counter()
    for number, asked in enumerate(command.lines):
        units[asked.sku] += asked.quantity
        left = bought[asked.sku] - order.returned.get(asked.sku, 0)
        if units[asked.sku] > left:
            path = f"$.lines[{number}].quantity"
            return Rejected.at("too_many", path, f"{left} of {asked.sku} can still be returned")
    return None


def window_closes_at(order: Order, return_window: timedelta) -> datetime:
    """The end of the window. It counts from the delivery, or from the deadline where no time of delivery is known."""
    return (order.delivered_at or order.expires_at) + return_window
