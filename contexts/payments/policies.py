"""Payments' reactions: the whole table stands at the foot."""

from contexts.payments.commands import (
    AuthorizePayment,
    CapturePayment,
    RefundReturn,
    RetryDueRefund,
    UndoPayment,
    VerifyMethod,
)
from contexts.payments.events import RefundFailed
from contexts.payments.upstream import (
    InventoryRejected,
    InventoryReserved,
    OrderCancelled,
    OrderPlaced,
    PaymentDetailsSubmitted,
    ReturnReceived,
    ShipmentFailed,
)
from shared.context import Policy, Timer


def whenever_order_placed_authorize_its_total(event: OrderPlaced) -> list[AuthorizePayment]:
    """Has the bank hold the total until the goods are reserved (P11)."""
    return [
        AuthorizePayment(
            order_id=event.order_id,
            amount=event.total,
            method_token=event.method_token,
            lines=event.lines,
            discount=event.discount,
        )
    ]


def whenever_inventory_reserved_capture_the_payment(event: InventoryReserved) -> list[CapturePayment]:
    """May come before the authorization, which then leads to the capture (P13)."""
    return [CapturePayment(order_id=event.order_id)]


def whenever_inventory_rejected_undo_the_payment(event: InventoryRejected) -> list[UndoPayment]:
    """Compensates whenever_order_placed_authorize_its_total, and may come before it (P23)."""
    return [UndoPayment(order_id=event.order_id, reason="out_of_stock")]


def whenever_order_cancelled_undo_the_payment(event: OrderCancelled) -> list[UndoPayment]:
    """Voids before the capture and refunds after it (P23).

    Compensates whenever_order_placed_authorize_its_total and whenever_inventory_reserved_capture_the_payment.
    """
    return [UndoPayment(order_id=event.order_id, reason=event.reason)]


def whenever_shipment_failed_refund_the_payment(event: ShipmentFailed) -> list[UndoPayment]:
    """Compensates whenever_inventory_reserved_capture_the_payment (P30)."""
    return [UndoPayment(order_id=event.order_id, reason="shipment_failed")]


def whenever_return_received_refund_its_lines(event: ReturnReceived) -> list[RefundReturn]:
    """Gives back the price of the lines, less their own discount (P54)."""
    return [RefundReturn(order_id=event.order_id, return_id=event.return_id, lines=event.lines)]


def whenever_a_refund_retry_is_due_ask_again(event: RefundFailed) -> list[RetryDueRefund]:
    """Asks again for ever, with growing waits (P33)."""
    return [RetryDueRefund(order_id=event.order_id, attempt=event.attempt, return_id=event.return_id)]


def whenever_payment_details_are_submitted_verify_the_method(event: PaymentDetailsSubmitted) -> list[VerifyMethod]:
    """Has the bank answer each attempt; nothing is held or charged (P3)."""
    return [VerifyMethod(order_id=event.order_id, attempt=event.attempt, method_token=event.method_token)]


POLICIES: tuple[Policy, ...] = (
    Policy("ordering", OrderPlaced, whenever_order_placed_authorize_its_total),
    Policy("inventory", InventoryReserved, whenever_inventory_reserved_capture_the_payment),
    Policy("inventory", InventoryRejected, whenever_inventory_rejected_undo_the_payment),
    Policy("ordering", OrderCancelled, whenever_order_cancelled_undo_the_payment),
    Policy("shipping", ShipmentFailed, whenever_shipment_failed_refund_the_payment),
    Policy("shipping", ReturnReceived, whenever_return_received_refund_its_lines),
    Policy("ordering", PaymentDetailsSubmitted, whenever_payment_details_are_submitted_verify_the_method),
)

TIMERS: tuple[Timer, ...] = (
    Timer(
        name="RefundRetry",
        armed_by=RefundFailed,
        at=lambda failed: failed.retry_at,
        whenever_due=whenever_a_refund_retry_is_due_ask_again,
    ),
)
