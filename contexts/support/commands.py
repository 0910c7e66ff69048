"""The commands of support: clients send ResolveTicket and RateSupport; the others come from policies and mailer."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import MailChannel, MailRefusal, OrderId, Text
from shared.wire.messages import FROM_SUBJECT, TOLD

Refusal: TypeAlias = Literal["no_ticket"]
"""Why a command of a client is rejected."""

CaseName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]


class ResolveTicket(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The case is closed; `note` says how."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    case: Annotated[CaseName, TOLD]
    note: Text


class RateSupport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The customer rates the help with the order, from 1 to 5."""

    order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")
    score: Annotated[int, Meta(ge=1, le=5)]


class OpenTicket(Struct, frozen=True, kw_only=True):
    """There is trouble with the order, for the `occurrence`th time; one with a name counts once by its name instead."""

    order_id: OrderId
    case: str
    why: str
    occurrence: int = 1
    trouble: str = ""


class CloseTicket(Struct, frozen=True, kw_only=True):
    """There is good news about a case, which may have no ticket."""

    order_id: OrderId
    case: str
    note: str


class RecordOperatorTold(Struct, frozen=True, kw_only=True):
    """The mail about a ticket has left."""

    order_id: OrderId
    case: str
    channel: MailChannel


class RecordOperatorNotTold(Struct, frozen=True, kw_only=True):
    """The mail about a ticket will not be taken."""

    order_id: OrderId
    case: str
    reason: MailRefusal


TicketCommand: TypeAlias = OpenTicket | CloseTicket | ResolveTicket | RecordOperatorTold | RecordOperatorNotTold
