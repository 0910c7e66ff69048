"""Decides any command about a payment, as the context does: refunds have a decider of their own."""

from typing import TypeAlias

from contexts.payments import payment, refund
from contexts.payments.commands import PaymentCommand, RefundCommand
from contexts.payments.events import PaymentEvent
from contexts.payments.payment import Payment, evolve
from shared.context import Rejected

AnyCommand: TypeAlias = PaymentCommand | RefundCommand


def decide(command: AnyCommand, state: Payment) -> tuple[PaymentEvent | Rejected, ...]:
    """The answer to a command."""
    if isinstance(command, RefundCommand):
        return refund.decide(command, state)
    return payment.decide(command, state)


def after(*events: PaymentEvent) -> Payment:
    """The payment after these events."""
    state = Payment()
    for event in events:
        state = evolve(state, event)
    return state
