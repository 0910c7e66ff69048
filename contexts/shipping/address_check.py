"""Whether a parcel can go to the address of one attempt of a customer.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Each attempt is an aggregate of its own,
and the answer names it, so that ordering can tell a late answer from the latest.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct

from contexts.shipping.commands import ValidateAddress
from contexts.shipping.events import AddressEvent, AddressRejected, AddressValidated

Status: TypeAlias = Literal["SUBMITTED", "VALIDATED", "REJECTED"]

NOWHERE = "nowhere"
"""No parcel reaches a street with this in its name."""


class AddressCheck(Struct, frozen=True, kw_only=True):
    """The answer to one attempt."""

    status: Status = "SUBMITTED"


def decide(command: ValidateAddress, check: AddressCheck) -> tuple[AddressEvent, ...]:
    """Answer an attempt once."""
    if check.status != "SUBMITTED":
        return ()
    order_id, attempt = command.order_id, command.attempt
    if NOWHERE in command.address.street.casefold():
        return (AddressRejected(order_id=order_id, attempt=attempt, reason="unknown_street"),)
    return (AddressValidated(order_id=order_id, attempt=attempt, address=command.address),)


def evolve(check: AddressCheck, event: AddressEvent) -> AddressCheck:
    """The check after its answer."""
    assert check.status == "SUBMITTED", check.status
    match event:
        case AddressValidated():
            return AddressCheck(status="VALIDATED")
        case AddressRejected():
            return AddressCheck(status="REJECTED")
        case _:
            assert_never(event)
