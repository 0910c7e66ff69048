"""The events of support: a ticket was opened or resolved, the operator was told, a customer has a priority or rates."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.kernel import MailChannel, MailRefusal, OrderId
from shared.wire.messages import TOLD

Priority: TypeAlias = Literal["low", "normal", "high"]
"""How soon a customer is to be helped; `low` is a customer of whom no trouble was heard."""


class TicketOpened(Struct, frozen=True, kw_only=True):
    """A person has to look at this case of the order: published once, until it is resolved and the trouble comes again.

    `trouble` names the trouble, in a case whose troubles have names: of a refused letter, its template.
    """

    order_id: OrderId
    case: Annotated[str, TOLD]
    why: str
    priority: Priority
    occurrence: int = 1
    trouble: str = ""


class TroubleRepeated(Struct, frozen=True, kw_only=True):
    """The trouble of an open ticket has occurred again; it does not open another one."""

    order_id: OrderId
    case: Annotated[str, TOLD]
    occurrence: int
    trouble: str = ""


class TicketResolved(Struct, frozen=True, kw_only=True):
    """The case is closed, by an operator or by good news; `note` says how."""

    order_id: OrderId
    case: Annotated[str, TOLD]
    note: str


class OperatorTold(Struct, frozen=True, kw_only=True):
    """The mail about a ticket has left."""

    order_id: OrderId
    case: Annotated[str, TOLD]
    channel: MailChannel


class OperatorNotTold(Struct, frozen=True, kw_only=True):
    """The mail about a ticket was refused for good; the ticket stays open."""

    order_id: OrderId
    case: Annotated[str, TOLD]
    reason: Annotated[MailRefusal, TOLD]


class PriorityRaised(Struct, frozen=True, kw_only=True):
    """The customer behind the order has had more trouble than before."""

    order_id: OrderId
    priority: Annotated[Priority, TOLD]


class SupportRated(Struct, frozen=True, kw_only=True):
    """The customer says how content they are with the help, from 1 to 5; the last rating counts."""

    order_id: OrderId
    score: Annotated[int, TOLD]


TicketEvent: TypeAlias = TicketOpened | TroubleRepeated | TicketResolved | OperatorTold | OperatorNotTold
CustomerEvent: TypeAlias = PriorityRaised | SupportRated
