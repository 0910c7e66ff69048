"""Payments as one value."""

from typing import get_args

from contexts.payments import method_check, payment, refund
from contexts.payments.commands import MethodCommand, PaymentCommand, RefundCommand, RetryRefund
from contexts.payments.effects import BankOverNats, Cashier
from contexts.payments.events import (
    CancellationNoted,
    MethodEvent,
    PaymentAuthorized,
    PaymentEvent,
    RefundRequested,
    ReservationNoted,
    ReturnPriced,
)
from contexts.payments.method_check import MethodCheck
from contexts.payments.payment import Payment
from contexts.payments.policies import POLICIES, TIMERS
from contexts.payments.settings import PaymentsSettings
from shared.context import Aggregate, Context, Decider

PAYMENT = Aggregate(
    name="payment",
    key="order_id",
    state=Payment,
    events=get_args(PaymentEvent),
    evolve=payment.evolve,
    once=((RefundRequested, "return_id", "attempt"),),
)
METHOD = Aggregate(
    name="method",
    key="order_id",
    part="attempt",
    state=MethodCheck,
    events=get_args(MethodEvent),
    evolve=method_check.evolve,
)


def context(settings: PaymentsSettings) -> Context:
    """The context with the real bank behind it."""
    cashier = Cashier(BankOverNats, settings.refund_retry_delay)
    return Context(
        name="payments",
        deciders=(
            Decider(aggregate=PAYMENT, commands=get_args(PaymentCommand), decide=payment.decide),
            Decider(aggregate=PAYMENT, commands=get_args(RefundCommand), decide=refund.decide),
            Decider(aggregate=METHOD, commands=get_args(MethodCommand), decide=method_check.decide),
        ),
        accepts=(RetryRefund,),
        policies=POLICIES,
        timers=TIMERS,
        schema_version=2,
        effects=cashier.effects(settings.effect_timeout.total_seconds()),
        unheard=(ReservationNoted, PaymentAuthorized, CancellationNoted, ReturnPriced),
    )
