"""Whether the parcel of a return is here, and which of the expected lines are in it.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Shipping does not hear whether a return
has lapsed: a parcel that comes late is received all the same.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.kernel import SkuQuantity, merged, units_of
from contexts.shipping.commands import ExpectReturn, ReportReturnReceived, ReturnParcelCommand
from contexts.shipping.events import ReturnExpected, ReturnParcelEvent, ReturnReceived
from shared.context import Rejected

ParcelStatus: TypeAlias = Literal["UNKNOWN", "EXPECTED", "RECEIVED"]


class ReturnParcel(Struct, frozen=True, kw_only=True):
    """The parcel of one return: `expected` has each SKU once, and so has `received`."""

    status: ParcelStatus = "UNKNOWN"
    expected: tuple[SkuQuantity, ...] = ()
    received: tuple[SkuQuantity, ...] = ()


def decide(command: ReturnParcelCommand, parcel: ReturnParcel) -> tuple[ReturnParcelEvent | Rejected, ...]:
    """Decide on the command: no event when it was answered before."""
    match command:
        case ExpectReturn():
            if parcel.status != "UNKNOWN":
                return ()
            expected = ReturnExpected(order_id=command.order_id, return_id=command.return_id, lines=command.lines)
            return (expected,)
        case ReportReturnReceived():
            return _receive(command, parcel)
        case _:
            assert_never(command)


def evolve(parcel: ReturnParcel, event: ReturnParcelEvent) -> ReturnParcel:
    """The parcel after one of its events."""
    match event:
        case ReturnExpected():
            assert parcel.status == "UNKNOWN", parcel.status
            return ReturnParcel(status="EXPECTED", expected=event.lines)
        case ReturnReceived():
            assert parcel.status == "EXPECTED", parcel.status
            return replace(parcel, status="RECEIVED", received=event.lines)
        case _:
            assert_never(event)


def _receive(command: ReportReturnReceived, parcel: ReturnParcel) -> tuple[ReturnReceived | Rejected, ...]:
    came, expected = units_of(command.lines), units_of(parcel.expected)
    lines = merged(sorted(command.lines, key=lambda line: line.sku))
    if parcel.status == "UNKNOWN":
        return (Rejected.at("not_expected", "$.return_id", "this return was not requested"),)
    if parcel.status == "RECEIVED":
        if lines == parcel.received:
            return ()
        return (Rejected.at("received_otherwise", "$.lines", "the parcel was received with other lines"),)
    for number, asked in enumerate(command.lines):
        if came[asked.sku] > expected[asked.sku]:
            problem = f"{expected[asked.sku]} of {asked.sku} are expected"
            return (Rejected.at("too_many", f"$.lines[{number}]", problem),)
    return (ReturnReceived(order_id=command.order_id, return_id=command.return_id, lines=lines),)
