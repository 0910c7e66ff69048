"""Support as one value."""

from typing import get_args

from contexts.mail import mailer
from contexts.support import customer, ticket
from contexts.support.commands import RateSupport, ResolveTicket, TicketCommand
from contexts.support.customer import Customer
from contexts.support.effects import Desk
from contexts.support.events import CustomerEvent, OperatorNotTold, OperatorTold, TicketEvent, TroubleRepeated
from contexts.support.policies import POLICIES
from contexts.support.settings import SupportSettings
from contexts.support.ticket import Ticket
from shared.context import Aggregate, Context, Decider, Reads

TICKET = Aggregate(
    name="ticket", key="order_id", part="case", state=Ticket, events=get_args(TicketEvent), evolve=ticket.evolve
)
CUSTOMER = Aggregate(
    name="customer", key="order_id", state=Customer, events=get_args(CustomerEvent), evolve=customer.evolve
)

GATHER_S = 0.1
"""No saga waits for a ticket, so messages may gather into larger batches."""


def context(settings: SupportSettings) -> Context:
    """The context with a mail server behind it, or else with a directory of mails."""
    timeout_s = settings.effect_timeout.total_seconds()
    desk = Desk(mailer(settings), settings.mail_from, settings.operator_email)
    return Context(
        name="support",
        deciders=(
            Decider(
                aggregate=TICKET,
                commands=get_args(TicketCommand),
                decide=ticket.decide,
                also_reads=(Reads(CUSTOMER, ticket.customers_of),),
            ),
            Decider(aggregate=CUSTOMER, commands=(RateSupport,), decide=customer.decide),
        ),
        accepts=(ResolveTicket, RateSupport),
        policies=POLICIES,
        effects=desk.effects(timeout_s),
        gather_s=GATHER_S,
        unheard=(TroubleRepeated, OperatorTold, OperatorNotTold, *get_args(CustomerEvent)),
    )
