"""Four tiny contexts in a ring: one command, five hops, and hardly anything to decide."""

from typing import Annotated

from msgspec import Struct

from shared.context import Aggregate, Context, Decider, Policy
from shared.wire.messages import FROM_SUBJECT

NAMES = ("alpha", "beta", "gamma", "delta")


class Begin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks alpha for a saga."""

    saga_id: Annotated[str, FROM_SUBJECT] = ""
    note: str


class Pass(Struct, frozen=True, kw_only=True):
    """Asks for the next hop."""

    saga_id: str
    note: str


class End(Struct, frozen=True, kw_only=True):
    """Asks alpha for the last hop."""

    saga_id: str


class AlphaPassed(Struct, frozen=True, kw_only=True):
    """The first hop."""

    saga_id: str
    note: str


class BetaPassed(Struct, frozen=True, kw_only=True):
    """The second hop."""

    saga_id: str
    note: str


class GammaPassed(Struct, frozen=True, kw_only=True):
    """The third hop."""

    saga_id: str
    note: str


class DeltaPassed(Struct, frozen=True, kw_only=True):
    """The fourth hop."""

    saga_id: str
    note: str


class AlphaEnded(Struct, frozen=True, kw_only=True):
    """The fifth hop."""

    saga_id: str


class Hop(Struct, frozen=True, kw_only=True):
    """Whether this context has passed the saga on."""

    passed: bool = False
    ended: bool = False


def _evolve(state: Hop, event: Struct) -> Hop:
    if isinstance(event, AlphaEnded):
        return Hop(passed=state.passed, ended=True)
    return Hop(passed=True, ended=state.ended)


def contexts() -> tuple[Context, ...]:
    """The ring."""
    return (
        _context("alpha", AlphaPassed, "delta", DeltaPassed),
        _context("beta", BetaPassed, "alpha", AlphaPassed),
        _context("gamma", GammaPassed, "beta", BetaPassed),
        _context("delta", DeltaPassed, "gamma", GammaPassed),
    )


def _context(name: str, passed: type[Struct], source: str, heard: type[Struct]) -> Context:
    def decide(command: Begin | Pass | End, state: Hop) -> tuple[Struct, ...]:
        if isinstance(command, End):
            return () if state.ended else (AlphaEnded(saga_id=command.saga_id),)
        return () if state.passed else (passed(saga_id=command.saga_id, note=command.note),)

    def whenever(event: AlphaPassed) -> tuple[Struct, ...]:
        return (Pass(saga_id=event.saga_id, note=event.note),)

    def whenever_delta(event: DeltaPassed) -> tuple[Struct, ...]:
        return (End(saga_id=event.saga_id),)

    first = name == "alpha"
    hop = Aggregate(
        name="hop", key="saga_id", state=Hop, events=(passed, AlphaEnded) if first else (passed,), evolve=_evolve
    )
    return Context(
        name=name,
        deciders=(Decider(aggregate=hop, commands=(Begin, End) if first else (Pass,), decide=decide),),
        accepts=(Begin,) if first else (),
        policies=(Policy(source, heard, whenever_delta if first else whenever),),
    )
