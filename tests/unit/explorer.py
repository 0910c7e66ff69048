"""Explores the orders in which the contexts can hear each other: all of them exhaustively, or one at random.

The policies, deciders and effects are those of the contexts, and the bank's own decider answers their calls. A message
may arrive at any time after its cause, in any order, and some messages arrive twice: a stream never reorders as much.
A world is the state of the contexts plus everything in flight; the exhaustive search visits each reachable world once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from random import Random
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.inventory.movement import StockMovement
from contexts.kernel import Money, OrderId, Sku
from contexts.ordering.commands import AddItemsToBasket, ListPrice, PlaceOrder
from shared.config.settings import Settings
from shared.context import Context
from tests.contract.declared import declared
from tests.unit.deciding import BankCall, aggregate_of, as_read, decided, result_of, state_of
from tests.unit.outcomes import Outcome, Said, check_stock, outcome_of

MUG = Sku("mug")
ON_THE_SHELF = 3
PRICE = Money(amount_minor=1250)
OPENING: Mapping[str, Sequence[Struct]] = {
    "inventory": (
        RegisterStockItem(sku=MUG, name="Mug", unit_price=PRICE),
        ReplenishStock(sku=MUG, quantity=ON_THE_SHELF, delivery_id="d-1"),
    ),
    "ordering": (ListPrice(sku=MUG, unit_price=PRICE),),
}
"""The commands that each context has decided before the orders come."""
STEPS_AT_MOST = 2_000
DEADLINES = ("OrderDeadline", "ExtendedDeadline")
SILENCES = ("ParcelSilence", "ParcelStillSilent")
"""The timers that are left out: without news they come due for ever, and they decide nothing about an order."""
FOR_BASKETS = ("StockLevelChanged", "PriceChanged")
"""The events that only baskets are decided by; to deliver them too would multiply the worlds, and change no order."""
ADDS_EACH_TIME = (AddItemsToBasket,)
"""The commands that have an effect each time that they are decided, so a client sends them under an id."""
Outside: TypeAlias = Mapping[type[Struct], Callable[[Any], tuple[str, Struct]]]
"""The command that customers and carriers send when they hear of an event, and to which context."""


class Local(NamedTuple):
    """The decisions of one context: its aggregates by id, and the events that it has published."""

    states: Mapping[str, Any]
    said: Said


class Consequences(NamedTuple):
    """The result of one message: the context after it, and what is in flight because of it."""

    local: int
    messages: tuple[int, ...]
    calls: tuple[int, ...]
    deadlines: tuple[int, ...]


class World(NamedTuple):
    """The state of everything, as numbers that stand for equal values.

    `calls` are the calls of each context that the bank has not answered, oldest first. `deadlines` come due when
    nothing else is in flight. `spare` is how many messages may still be delivered twice.
    """

    locals: tuple[int, ...]
    bank: int
    calls: tuple[tuple[int, ...], ...]
    messages: tuple[int, ...]
    deadlines: tuple[int, ...]
    spare: int


_world: Callable[[tuple[Any, ...]], World] = partial(tuple.__new__, World)
"""World from a tuple of its fields, without the checks: the search makes hundreds of thousands."""


class Numbers:
    """Gives equal values one number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, value: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


class Explorer:
    """The order saga for some orders of mugs.

    `outside` maps events to the commands of customers and carriers. With `deadline_races`, the deadline of an order may
    come due at any time; otherwise it comes due last. Nobody hears the events `unheard`, and the timers `silences`
    never come due.
    """

    unheard: tuple[str, ...] = FOR_BASKETS
    silences: tuple[str, ...] = SILENCES

    def __init__(
        self, settings: Settings, orders: Sequence[PlaceOrder], *, outside: Outside, deadline_races: bool
    ) -> None:
        self.contexts = declared(settings, "ordering", "inventory", "payments", "shipping")
        self.orders = orders
        self.outside = outside
        self.deadline_races = deadline_races
        self.locals = Numbers()
        self.messages = Numbers()
        self.calls = Numbers()
        self.banks = Numbers()
        self._consequences: dict[tuple[int, int, int], Consequences] = {}
        self._answers_known: dict[tuple[int, int], tuple[int, int]] = {}

    def explore(self, *commands: tuple[str, Struct], twice: int) -> Mapping[tuple[Outcome, ...], Sequence[Said]]:
        """Visit every reachable world; every outcome of the orders, each with all that may have been published.

        In each world, up to `twice` messages were delivered twice. Each outcome is checked against the invariants.
        """
        found: dict[tuple[Outcome, ...], dict[tuple[int, ...], Said]] = {}
        for world in self._last(self._start(commands, twice)):
            found.setdefault(self._outcomes(world), {})[world.locals] = self._said(world)
        return {outcomes: tuple(said.values()) for outcomes, said in found.items()}

    def _last(self, start: World) -> Iterator[World]:
        """Every world that can be reached in which nothing is in flight."""
        seen = {start}
        ahead = [start]
        while ahead:
            world = ahead.pop()
            following = self._following(world)
            if not following:
                yield world
            for one in following:
                known = len(seen)
                seen.add(one)  # To look first would hash the world twice.
                if len(seen) > known:
                    ahead.append(one)

    def walk(self, random: Random, *commands: tuple[str, Struct]) -> tuple[Outcome, ...]:
        """Deliver the messages in one random order, about a third of them twice; the outcome of the orders."""
        world = self._start(commands, 0)
        for _ in range(STEPS_AT_MOST):
            following = self._following(world._replace(spare=int(random.random() < 1 / 3)))
            if not following:
                return self._outcomes(world)
            world = random.choice(following)
        raise AssertionError(f"messages are still in flight after {STEPS_AT_MOST} steps")

    def _start(self, commands: Sequence[tuple[str, Struct]], spare: int) -> World:
        return World(
            tuple(self._begin(context) for context in self.contexts),
            self.banks.number((), {}),
            tuple(() for _ in self.contexts),
            tuple(sorted(self._message(name, (command,)) for name, command in commands)),
            (),
            spare,
        )

    def _following(self, world: World) -> list[World]:
        """Every world that can be next."""
        following = [*self._deliveries(world), *self._answers(world)]
        if not following and world.deadlines:
            return [world._replace(messages=world.deadlines, deadlines=())]
        return following

    def _deliveries(self, world: World) -> Iterator[World]:
        last = -1
        for place, message in enumerate(world.messages):
            if message == last:
                continue
            last = message
            left = world.messages[:place] + world.messages[place + 1 :]
            at = self.messages.values[message][0]
            came = self._deliver(at, world.locals[at], message)
            after = world.locals
            if came.local != after[at]:
                after = (*after[:at], came.local, *after[at + 1 :])
            calls, spare = world.calls, world.spare
            if came.calls:
                calls = (*calls[:at], calls[at] + came.calls, *calls[at + 1 :])
            deadlines = _sorted(world.deadlines, came.deadlines)
            yield _world((after, world.bank, calls, _sorted(left, came.messages), deadlines, spare))
            if spare and self._may_come_twice(message):
                again = _sorted(world.messages, came.messages)
                yield _world((after, world.bank, calls, again, deadlines, spare - 1))

    def _may_come_twice(self, message: int) -> bool:
        del message
        return True

    def _answers(self, world: World) -> Iterator[World]:
        """The bank answers the oldest call of some key."""
        for at, asked in enumerate(world.calls):
            keys: set[OrderId] = set()
            for place, call in enumerate(asked):
                key = self.calls.values[call].order_id
                if key in keys:
                    continue
                keys.add(key)
                after, outcome = self._answer(at, call, world.bank)
                calls = (*world.calls[:at], asked[:place] + asked[place + 1 :], *world.calls[at + 1 :])
                messages = _sorted(world.messages, (outcome,))
                yield _world((world.locals, after, calls, messages, world.deadlines, world.spare))

    def _deliver(self, at: int, local: int, message: int) -> Consequences:
        known = self._consequences.get((at, local, message))
        if known is None:
            known = self._consequences[at, local, message] = self._decide(at, local, message)
        return known

    def _decide(self, at: int, number: int, message: int) -> Consequences:
        """Decide the message's commands, check that asking again is quiet, and collect what follows."""
        context = self.contexts[at]
        states, said = dict(self.locals.values[number].states), Counter(self.locals.values[number].said)
        messages: list[int] = []
        calls: list[int] = []
        deadlines: list[int] = []
        for command in self.messages.values[message][1]:
            (decider,) = [one for one in context.deciders if type(command) in one.commands]
            events = decided(decider, command, states)
            for event in events:
                aggregate = aggregate_of(context, event)
                identity = aggregate.id_of(event)
                states[identity] = aggregate.evolve(state_of(states, aggregate, identity), event)
                check_stock(states[identity])
                said[_fact(event)] += 1
                messages += self._heard(context, event)
                if any(effect.asked_by is type(event) for effect in context.effects):
                    calls.append(self.calls.number((at, event), event))
                (messages if self.deadline_races else deadlines).extend(self._armed(context, event, is_deadline=True))
                messages += self._armed(context, event, is_deadline=False)
            if events and not isinstance(command, ADDS_EACH_TIME):
                assert decided(decider, command, states) == [], f"{command} was answered twice"
        return Consequences(self._local(states, said), tuple(messages), tuple(calls), tuple(deadlines))

    def _heard(self, context: Context, event: Any) -> Iterator[int]:
        """The reactions of the other contexts, the customer and the carrier."""
        if type(event).__name__ in self.unheard:
            return
        for reader in self.contexts:
            for policy in reader.policies:
                if (policy.source, policy.event.__name__) == (context.name, type(event).__name__):
                    yield self._message(reader.name, policy.whenever(as_read(policy.event, event)))
        if type(event) in self.outside:
            name, command = self.outside[type(event)](event)
            yield self._message(name, (command,))

    def _armed(self, context: Context, event: Any, *, is_deadline: bool) -> Iterator[int]:
        for timer in context.timers:
            armed = timer.armed_by is type(event) and timer.at(event) is not None and timer.name not in self.silences
            if armed and (timer.name in DEADLINES) is is_deadline:
                yield self._message(context.name, timer.whenever_due(event))

    def _answer(self, at: int, call: int, before: int) -> tuple[int, int]:
        """The bank's payments after a call, and the message that brings its outcome back."""
        known = self._answers_known.get((call, before))
        if known is None:
            event = self.calls.values[call]
            (effect,) = [effect for effect in self.contexts[at].effects if effect.asked_by is type(event)]
            asked = BankCall(self.banks.values[before])
            outcome = result_of(effect.call(event, asked))
            after = self.banks.number(
                tuple(sorted((name, repr(state)) for name, state in asked.states.items())), asked.states
            )
            known = self._answers_known[call, before] = (after, self._message(self.contexts[at].name, (outcome,)))
        return known

    def _message(self, name: str, commands: Sequence[Struct]) -> int:
        (at,) = [at for at, context in enumerate(self.contexts) if context.name == name]
        return self.messages.number((at, tuple(commands)), (at, tuple(commands)))

    def _begin(self, context: Context) -> int:
        """The context when the shop opens: the mugs are on the shelf, and have their price."""
        local = self._local({}, Counter())
        if context.name not in OPENING:
            return local
        opening = self._message(context.name, OPENING[context.name])
        came = self._decide(self.contexts.index(context), local, opening)
        return self._local(self.locals.values[came.local].states, Counter())

    def _local(self, states: Mapping[str, Any], said: Said) -> int:
        spelled = msgspec.json.encode(sorted(states.items()))
        return self.locals.number((spelled, tuple(sorted(said.items()))), Local(states, said))

    def _outcomes(self, world: World) -> tuple[Outcome, ...]:
        """The outcome of every order; asserts that no unit is lost or found and that nothing was done twice."""
        states = dict(chain.from_iterable(self.locals.values[local].states.items() for local in world.locals))
        said = self._said(world)
        gone = held = 0
        for placed in self.orders:
            units, reservation = placed.lines[0].quantity, states[f"reservation-{placed.order_id}"]
            gone += units * (reservation.status in ("COMMITTED", "WRITTEN_OFF"))
            held += units * (reservation.status == "RESERVED")
        stock = states[f"stock-{MUG}"]
        came_in = sum(state.quantity or 0 for state in states.values() if isinstance(state, StockMovement))
        assert (stock.on_hand, stock.reserved, stock.waiting) == (came_in - gone, held, ()), (stock, states)
        bank = self.banks.values[world.bank]
        return tuple(outcome_of(placed.order_id, states, said, bank) for placed in self.orders)

    def _said(self, world: World) -> Said:
        return sum((self.locals.values[local].said for local in world.locals), Counter())


def _fact(event: Any) -> tuple[str, str]:
    name = type(event).__name__
    return getattr(event, "order_id", ""), f"{name} {event.reason}" if name == "OrderCancelled" else name


@lru_cache(maxsize=1 << 16)
def _sorted(left: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(left + more)) if more else left
