"""A till: the smallest context that uses everything the engine offers, and a scanner whose events it reads."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, assert_never

from msgspec import Meta, Struct
from msgspec.structs import replace

from shared.context import Aggregate, Call, Context, Decider, Effect, Policy, Rejected, Timer, UnknownOutcomeError
from shared.wire.messages import FROM_SUBJECT

JAMS_AT = 13


class Ring(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take an amount; the drawer jams at 13."""

    till_id: Annotated[str, FROM_SUBJECT] = ""
    amount: Annotated[int, Meta(gt=0)]


class CloseAt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close the till at a given time."""

    till_id: Annotated[str, FROM_SUBJECT] = ""
    closes_at: datetime


class PrintReceipt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Have a receipt printed."""

    till_id: Annotated[str, FROM_SUBJECT] = ""
    text: str


class Close(Struct, frozen=True, kw_only=True):
    """It is closing time."""

    till_id: str


class RecordPrinted(Struct, frozen=True, kw_only=True):
    """The printer has printed."""

    till_id: str
    text: str
    attempt: int


class Rung(Struct, frozen=True, kw_only=True):
    """The amount is in the drawer, and `total` with it."""

    till_id: str
    amount: int
    total: int


class ClosingScheduled(Struct, frozen=True, kw_only=True):
    """The till closes then."""

    till_id: str
    closes_at: datetime


class TillClosed(Struct, frozen=True, kw_only=True):
    """Nothing more is taken."""

    till_id: str
    total: int


class ReceiptRequested(Struct, frozen=True, kw_only=True):
    """The printer is to print this."""

    till_id: str
    text: str


class ReceiptPrinted(Struct, frozen=True, kw_only=True):
    """The receipt is out, at this attempt."""

    till_id: str
    text: str
    attempt: int


class GoodsScanned(Struct, frozen=True, kw_only=True):
    """The scanner saw something of this price."""

    till_id: str
    amount: int


Command: TypeAlias = Ring | CloseAt | PrintReceipt | Close | RecordPrinted
Event: TypeAlias = Rung | ClosingScheduled | TillClosed | ReceiptRequested | ReceiptPrinted


class Till(Struct, frozen=True, kw_only=True):
    """The amount in the drawer."""

    total: int = 0
    state: Literal["OPEN", "CLOSED"] = "OPEN"


def decide(command: Command, till: Till) -> tuple[Event | Rejected, ...]:
    """The events of a command."""
    match command:
        case Ring() if till.state == "CLOSED":
            return (Rejected(reason="closed"),)
        case Ring():
            if command.amount == JAMS_AT:
                raise RuntimeError("the drawer jams")
            return (Rung(till_id=command.till_id, amount=command.amount, total=till.total + command.amount),)
        case CloseAt():
            return (ClosingScheduled(till_id=command.till_id, closes_at=command.closes_at),)
        case Close():
            return () if till.state == "CLOSED" else (TillClosed(till_id=command.till_id, total=till.total),)
        case PrintReceipt():
            return (ReceiptRequested(till_id=command.till_id, text=command.text),)
        case RecordPrinted():
            return (ReceiptPrinted(till_id=command.till_id, text=command.text, attempt=command.attempt),)
        case _:
            assert_never(command)


def evolve(till: Till, event: Event) -> Till:
    """The till after one of its events."""
    match event:
        case Rung():
            return replace(till, total=event.total)
        case TillClosed():
            return replace(till, state="CLOSED")
        case _:
            return till


def whenever_goods_scanned_ring(event: GoodsScanned) -> list[Ring]:
    """Rings the amount that was scanned."""
    return [Ring(till_id=event.till_id, amount=event.amount)]


def whenever_it_is_closing_time_close(event: ClosingScheduled) -> list[Close]:
    """The till closes when it said it would."""
    return [Close(till_id=event.till_id)]


class Printer:
    """Prints at the attempt that the text names (`… at 3`), and records the idempotency keys of its calls."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def print(self, requested: ReceiptRequested, call: Call) -> RecordPrinted:
        """Print one receipt."""
        self.asked.append((requested.text, call.idempotency_key))
        if call.attempt < int(requested.text.rpartition(" at ")[2] or "1"):
            raise UnknownOutcomeError("out of paper, or not")
        return RecordPrinted(till_id=requested.till_id, text=requested.text, attempt=call.attempt)


def till(printer: Printer | None = None) -> Context:
    """The till as one value."""
    aggregate = Aggregate(
        name="till",
        key="till_id",
        state=Till,
        events=(Rung, ClosingScheduled, TillClosed, ReceiptRequested, ReceiptPrinted),
        evolve=evolve,
    )
    return Context(
        name="till",
        deciders=(
            Decider(aggregate=aggregate, commands=(Ring, CloseAt, PrintReceipt, Close, RecordPrinted), decide=decide),
        ),
        accepts=(Ring, CloseAt, PrintReceipt),
        policies=(Policy("scanner", GoodsScanned, whenever_goods_scanned_ring),),
        timers=(
            Timer(
                name="ClosingTime",
                armed_by=ClosingScheduled,
                at=lambda scheduled: scheduled.closes_at.astimezone(UTC),
                whenever_due=whenever_it_is_closing_time_close,
            ),
        ),
        effects=(
            Effect(
                asked_by=ReceiptRequested, call=(printer or Printer()).print, outcomes=(RecordPrinted,), timeout_s=2.0
            ),
        ),
    )


def scanner() -> Context:
    """The context that publishes scanned goods; no worker of it runs."""
    aggregate = Aggregate(name="scan", key="till_id", state=Till, events=(GoodsScanned,), evolve=evolve)
    return Context(name="scanner", deciders=(Decider(aggregate=aggregate, commands=(), decide=decide),))


def stuck_till(stuck: Path, tried: list[int] | None = None) -> Context:
    """A till whose drawer cannot take 13 or 17 while the file exists."""

    def decide_unless_stuck(command: Command, state: Till) -> tuple[Any, ...]:
        if isinstance(command, Ring) and command.amount in (JAMS_AT, 17):
            if tried is not None:
                tried.append(command.amount)
            if stuck.exists() and str(command.amount) in stuck.read_text():
                raise RuntimeError(f"the drawer is stuck at {command.amount}")
            return (Rung(till_id=command.till_id, amount=command.amount, total=state.total + command.amount),)
        return decide(command, state)

    context = till()
    (decider,) = context.deciders
    return dataclasses.replace(context, deciders=(dataclasses.replace(decider, decide=decide_unless_stuck),))
