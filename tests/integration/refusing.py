"""A till whose first event is refused, because a stranger's message has its id, and the remedy."""

from collections.abc import Sequence
from typing import Any

from shared.adapters.clock import SystemClock
from shared.ports.broker import Published
from shared.repair import parked, unresolved
from shared.repair.results import VerdictResult, wait_for_results
from shared.repair.strangers import void
from tests.integration.engine import Counter
from tests.integration.keys import TILL
from tests.waiting import WITHIN_S, until

TAKEN = f"till/till-{TILL}@1"


async def declare_void(counter: Counter, row: unresolved.Refused) -> int:
    return await void(counter.databases, row, who="ann", why="a test script", at=SystemClock().now(), stored=None)


async def take_the_id(counter: Counter) -> Published:
    """Publish a stranger's message under the id of a future event."""
    return await counter.publish("evt.till.Whatever.zz", b"{}", TAKEN)


async def is_refused(counter: Counter) -> unresolved.Refused:
    await until(lambda: len(parked.refused_in(counter.databases, ["till"])) == 1)
    return parked.refused_in(counter.databases, ["till"])[0]


async def come_of(
    counter: Counter, chosen: Sequence[unresolved.Unresolved], within_s: float = WITHIN_S
) -> VerdictResult:
    (outcome,) = await wait_for_results(counter.databases, chosen, SystemClock(), timeout_s=within_s)
    return outcome


def journal_and_states(counter: Counter) -> list[tuple[Any, ...]]:
    """All rows of the journal and all states."""
    events = counter.rows(
        "SELECT event_id, aggregate, version, body, published_seq FROM journal WHERE subject LIKE 'evt.%' ORDER BY 2, 3"
    )
    return events + counter.rows("SELECT * FROM aggregates ORDER BY id")
