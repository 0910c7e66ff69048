"""The price of rights: the same orders on open servers and on servers that know their users, by turns, in one run.

The machine drifts by more than the price. So each round has a shop of both kinds, the kind that comes first changes,
and the two of a round are compared with each other.
"""

from statistics import median

from msgspec import Struct

from tests.bench.load import Load
from tests.bench.orders import check, shop
from tests.bench.runs import Run, Target, saturated

OF_THE_OPEN_AT_LEAST = 0.95


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int = 4
    waiting: int = 4_000


QUICK = Plan(rounds=1, waiting=40)


class Round(Struct, frozen=True, kw_only=True):
    """A run on an open server, and one on a server with users."""

    open: Run
    secure: Run

    @property
    def kept(self) -> float:
        """The pace with users, of that without."""
        return self.secure.throughput.per_s / self.open.throughput.per_s


class PriceOfRights(Struct, frozen=True, kw_only=True):
    """The rounds, one after the other."""

    rounds: tuple[Round, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the measurements have to meet."""
        kept = median(one.kept for one in self.rounds)
        return (Target(name="orders/s with rights, of those without", found=kept, at_least=OF_THE_OPEN_AT_LEAST),)


async def measure(plan: Plan) -> PriceOfRights:
    """Round by round, with the other kind first each time."""
    rounds = []
    for number in range(plan.rounds):
        kinds = (False, True) if number % 2 == 0 else (True, False)
        runs = {secure: await _run(plan, secure=secure) for secure in kinds}
        rounds.append(Round(open=runs[False], secure=runs[True]))
    return PriceOfRights(rounds=tuple(rounds))


async def _run(plan: Plan, *, secure: bool) -> Run:
    async with shop(secure=secure) as (place, supervisor):
        load = Load(kind="orders", count=plan.waiting)
        run = await saturated(place, supervisor, load, place.consumers("ordering"))
        await check(place, plan.waiting)
    return run
