"""Checks whether a shop has kept its promises, from nothing but the streams, the databases and the bank's books.

`python -m tests.chaos.checker` looks at the shop that the environment names, as `chorus` would.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

import anyio

from shared import catalog
from shared.adapters.jetstream import connect
from shared.config.connection import find_connection
from tests.chaos.evidence import Evidence, gather
from tests.chaos.finding import Finding
from tests.chaos.invariants import goods, letters, messages, money, orders
from tests.chaos.invariants.recomputed import databases_come_out_again, decisions_come_out_again

Check = Callable[[Evidence], Iterator[Finding]]


def files_are_whole_and_ours(evidence: Evidence) -> Iterator[Finding]:
    """I8. Only the writing connection knows whether `synchronous` is FULL: a worker does not start otherwise."""
    for problem in evidence.files:
        yield Finding(invariant="I8", where="databases", what=problem)


ALWAYS: Final[tuple[Check, ...]] = (
    messages.same_id_same_content,
    messages.versions_count_up,
    orders.orders_end_once,
    goods.stock_adds_up,
    money.money_adds_up,
    orders.parcels_leave_once,
    messages.positions_have_been_heard,
    files_are_whole_and_ours,
)
SETTLED: Final[tuple[Check, ...]] = (
    money.cancelled_orders_keep_no_money,
    money.returns_add_up,
    messages.journals_are_published,
    messages.events_are_explained,
    messages.events_have_causes,
    messages.commands_are_answered,
    orders.orders_are_terminal,
    orders.open_baskets_are_watched,
    goods.reservations_are_settled,
    goods.nobody_waits_for_units_that_are_there,
    letters.letters_are_single,
    letters.tickets_are_single,
    messages.nothing_is_left,
)


def always(evidence: Evidence) -> list[Finding]:
    """I1 to I8, which hold at every instant."""
    return [finding for check in ALWAYS for finding in _found(check, evidence)]


def settled(evidence: Evidence) -> list[Finding]:
    """The invariants that hold when everything that was begun has ended."""
    return [finding for check in SETTLED for finding in _found(check, evidence)]


async def recomputed(evidence: Evidence) -> list[Finding]:
    """The invariants that take a recomputation of every decision and of every database."""
    return [*await decisions_come_out_again(evidence), *await databases_come_out_again(evidence)]


async def at_rest(evidence: Evidence) -> list[Finding]:
    """All invariants, which hold together when everything that was begun has ended."""
    return [*always(evidence), *settled(evidence), *await recomputed(evidence)]


def _found(check: Check, evidence: Evidence) -> Iterator[Finding]:
    """The findings of a check; an exception is one too, because sound evidence raises none."""
    try:
        yield from check(evidence)
    except Exception as error:
        name = getattr(check, "__name__", "a check")
        yield Finding(invariant="I10", where=name, what=f"cannot make sense of what is there: {error!r}")


async def main() -> int:
    """Print the findings, one a line; exit 1 when there are any."""
    settings = catalog.read_settings(os.environ)
    broker = await connect(find_connection(os.environ), name="chorus checker")
    try:
        paths = {name: settings.data_dir / f"{name}.db" for name in catalog.names()}
        findings = await at_rest(await gather(broker, settings, paths))
    finally:
        await broker.close()
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(anyio.run(main))
