"""Derives the consequences of an event: the effect that it asks for and the timer that it arms."""

from typing import NamedTuple

from shared.context import Event
from shared.engine.decide.outgoing import timer_row
from shared.engine.route.routing import Routing
from shared.ports.rows import JournalRow


class Consequences(NamedTuple):
    """`timer` is the row that arms it, or None."""

    asks_for_effect: bool
    timer: JournalRow | None


def consequences(routing: Routing, event: Event, row: JournalRow) -> Consequences:
    """The consequences of `event`, whose row is `row`: the same when it is decided and when a rebuild reads it."""
    kind = type(event)
    timer = routing.timers.get(kind)
    at = None if timer is None else timer.at(event)
    armed = None if timer is None or at is None else timer_row(routing.context.name, row, timer.name, row.key, at)
    return Consequences(kind in routing.effects, armed)
