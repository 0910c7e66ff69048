"""How much a customer matters to support, and how content they are: support's own idea of a customer.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Support knows a customer by the order,
for which it hears of trouble; notifications knows the same person as a mail address.
"""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.support.commands import RateSupport
from contexts.support.events import CustomerEvent, Priority, PriorityRaised, SupportRated
from shared.context import Rejected

MONEY = "refund"
"""The case that makes a customer matter most at once: their money is with us."""


class Customer(Struct, frozen=True, kw_only=True):
    """The customer behind one order; `satisfaction` is their last rating, from 1 to 5."""

    priority: Priority = "low"
    satisfaction: int | None = None

    def priority_after(self, case: str) -> Priority:
        """The priority once there is a ticket for this case: `high` where it is about money or not the first."""
        return "high" if case.startswith(MONEY) or self.priority != "low" else "normal"


def decide(command: RateSupport, customer: Customer) -> tuple[CustomerEvent | Rejected, ...]:
    """Decide on the rating: no event when it is the one that counts already."""
    if customer.priority == "low":
        return (Rejected.at("no_ticket", "$", "support had nothing to do with this order"),)
    if customer.satisfaction == command.score:
        return ()
    return (SupportRated(order_id=command.order_id, score=command.score),)


def evolve(customer: Customer, event: CustomerEvent) -> Customer:
    """The customer after one of their events."""
    match event:
        case PriorityRaised():
            return replace(customer, priority=event.priority)
        case SupportRated():
            return replace(customer, satisfaction=event.score)
        case _:
            assert_never(event)
