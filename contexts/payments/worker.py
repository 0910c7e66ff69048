"""Payments as one value."""

from typing import get_args

from contexts.payments.commands import PaymentCommand, RetryRefund
from contexts.payments.decider import Payment, decide, evolve
from contexts.payments.effects import BankOverNats, Cashier
from contexts.payments.events import (
    CancellationNoted,
    PaymentAuthorized,
    PaymentEvent,
    RefundRequested,
    ReservationNoted,
    ReturnPriced,
)
from contexts.payments.policies import POLICIES, TIMERS
from contexts.payments.settings import PaymentsSettings
from shared.context import Aggregate, Context, Decider

PAYMENT = Aggregate(
    name="payment",
    key="order_id",
    state=Payment,
    events=get_args(PaymentEvent),
    evolve=evolve,
    once=((RefundRequested, "return_id", "attempt"),),
)


def context(settings: PaymentsSettings) -> Context:
    """The context with the real bank behind it."""
    cashier = Cashier(BankOverNats, settings.refund_retry_delay)
    return Context(
        name="payments",
        deciders=(Decider(aggregate=PAYMENT, commands=get_args(PaymentCommand), decide=decide),),
        accepts=(RetryRefund,),
        policies=POLICIES,
        timers=TIMERS,
        effects=cashier.effects(settings.effect_timeout.total_seconds()),
        unheard=(ReservationNoted, PaymentAuthorized, CancellationNoted, ReturnPriced),
    )
