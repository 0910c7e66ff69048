"""`python -m tests.bench chain|orders|insights|rights`: how fast, beside what the same machine can do at best."""

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
from cyclopts import App, Parameter
from msgspec.structs import replace
from rich.console import Console

from tests.bench import insights as of_insights
from tests.bench import orders as of_orders
from tests.bench import rights as of_rights
from tests.bench import sagas as of_sagas
from tests.bench.profiles import Profile
from tests.bench.report import Result, as_json, show
from tests.bench.stage import in_one_directory

WIDTH = 132
"""Of the tables in a pipe or a file."""

app = App(name="python -m tests.bench", help="Measure Chorus on a server and databases of its own.")

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="one JSON object instead of tables")]
Quick = Annotated[bool, Parameter(negative="", help="a few sagas only, to see that it runs; the figures mean nothing")]
ProfileOf = Annotated[str | None, Parameter(name="--profile", help="run this context under a profiler instead")]
Many = Annotated[int | None, Parameter(help="send so many as fast as they are shipped, and show every tenth of them")]

Events = Annotated[int | None, Parameter(help="catch up on so many")]


@app.command
def chain(*, json: AsJson = False, quick: Quick = False, profile: ProfileOf = None) -> int:
    """Four tiny contexts and five hops, beside a bare loop and one unloaded hop."""
    plan = of_sagas.QUICK if quick else of_sagas.Plan()
    if profile is not None:
        return _measured(lambda: of_sagas.profile(plan, profile), json, quick)
    return _measured(lambda: of_sagas.measure(plan), json, quick)


@app.command
def orders(*, json: AsJson = False, quick: Quick = False, profile: ProfileOf = None, orders: Many = None) -> int:
    """PlaceOrder to OrderShipped through every context of the shop, bank included, beside the bare loop."""
    plan = of_orders.QUICK if quick else of_orders.Plan()
    if profile is not None:
        return _measured(lambda: of_orders.profile(plan, profile), json, quick)
    if orders is not None:
        return _measured(lambda: of_orders.measure_many(orders), json, quick)
    return _measured(lambda: of_orders.measure(plan), json, quick)


@app.command
def insights(*, json: AsJson = False, quick: Quick = False, events: Events = None) -> int:
    """A group that catches up, answers, and follows a busy shop, beside a bare loop that only reads and commits."""
    plan = of_insights.QUICK if quick else of_insights.Plan()
    if events is not None:
        plan = replace(plan, events=events)
    return _measured(lambda: of_insights.measure(plan), json, quick)


@app.command
def rights(*, json: AsJson = False, quick: Quick = False) -> int:
    """The same orders on open servers and on servers that know their users, by turns."""
    plan = of_rights.QUICK if quick else of_rights.Plan()
    return _measured(lambda: of_rights.measure(plan), json, quick)


def _measured(work: Callable[[], Awaitable[Result | Profile]], json: bool, quick: bool) -> int:
    """Show what was measured; 1 when a target was missed."""
    with in_one_directory():
        result = anyio.run(work, backend_options={"use_uvloop": True})
    if json:
        print(as_json(result))
    else:
        show(result, Console() if sys.stdout.isatty() else Console(width=WIDTH))
    missed = not isinstance(result, Profile) and not all(target.met for target in result.targets)
    return 1 if missed and not quick else 0


if __name__ == "__main__":
    sys.exit(app())
