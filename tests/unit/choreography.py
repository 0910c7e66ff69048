"""Every order in which the messages of one order can arrive: the contexts as automata, and a walk through all worlds.

The policies, deciders and effects are those of the contexts, and the bank's decider answers. A message may arrive any
time after it was said, also after all later ones, and any one of all messages arrives twice, at any two moments: less
order than streams ever keep. A world is what the contexts have decided so far and what is still under way; each world
that can be reached is looked at once.
"""

from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

import contexts.bank.decider as bank
from contexts.bank.commands import OPERATIONS, Authorize
from contexts.inventory.commands import ReplenishStock
from contexts.kernel import OrderId, Sku
from shared.config.settings import Settings
from shared.context import Aggregate, Asked, Context, Decider, Rejected
from shared.wire.bodies import BodyDecoder
from tests.contract.declared import declared

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MUG = Sku("mug")
ON_THE_SHELF = 3
ORDER = OrderId("o-1")

Said: TypeAlias = Counter[str]


class Local(NamedTuple):
    """What one context has decided: its aggregates by id, and how often it has said what."""

    states: Mapping[str, Any]
    said: Said


class Came(NamedTuple):
    """What came of one message: the context after it, and what is under way because of it."""

    local: int
    messages: tuple[int, ...]
    calls: tuple[int, ...]


class World(NamedTuple):
    """All of it as numbers: equal things have one. `calls` are those not made yet, of each context in their order."""

    locals: tuple[int, ...]
    bank: int
    calls: tuple[tuple[int, ...], ...]
    messages: tuple[int, ...]
    spare: int
    """How many messages may still arrive twice."""


class End(NamedTuple):
    """Where the order stands in every context, and whose money it is."""

    order: str
    reservation: str
    payment: str
    shipment: str
    bank: str
    reason: str | None = None


class Numbers:
    """Things that are equal have one number."""

    def __init__(self) -> None:
        self.things: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, thing: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.things)
            self.things.append(thing)
        return self._numbers[key]


class Choreography:
    """The shop for one order.

    `customer`: what a customer or carrier sends to which context on hearing of an event. The order's deadline may come
    at any time with `deadline`, and never without it.
    """

    def __init__(
        self, settings: Settings, *, customer: Mapping[type[Struct], tuple[str, Struct]], deadline: bool
    ) -> None:
        self.contexts = declared(settings, "ordering", "inventory", "payments", "shipping")
        self.customer = customer
        self.deadline = deadline
        self.locals = Numbers()
        self.messages = Numbers()
        self.calls = Numbers()
        self.banks = Numbers()
        self._came: dict[tuple[int, int, int], Came] = {}
        self._answered: dict[tuple[int, int], tuple[int, int]] = {}

    def ends(self, *commands: tuple[str, Struct], twice: int = 1) -> Mapping[End, Sequence[Said]]:
        """Every end that can be reached, each with all that may have been said until then.

        So many messages arrive `twice`; what must always hold in an end is checked in each.
        """
        start = World(
            tuple(self._begin(context) for context in self.contexts),
            self.banks.number(bank.Payment(), bank.Payment()),
            tuple(() for _ in self.contexts),
            tuple(sorted(self._message(name, (command,)) for name, command in commands)),
            twice,
        )
        seen = {start}
        ahead = [start]
        found: dict[End, dict[tuple[int, ...], Said]] = {}
        while ahead:
            world = ahead.pop()
            following = [*self._deliveries(world), *self._answers(world)]
            if not following:
                found.setdefault(self._end(world), {})[world.locals] = self._said(world)
            for one in following:
                if one not in seen:
                    seen.add(one)
                    ahead.append(one)
        return {end: tuple(said.values()) for end, said in found.items()}

    def _deliveries(self, world: World) -> list[World]:
        found = []
        last = -1
        for place, message in enumerate(world.messages):
            if message == last:
                continue
            last = message
            left = world.messages[:place] + world.messages[place + 1 :]
            at = self.messages.things[message][0]
            came = self._come(at, world.locals[at], message)
            locals_ = (*world.locals[:at], came.local, *world.locals[at + 1 :])
            calls = world.calls
            if came.calls:
                calls = (*calls[:at], calls[at] + came.calls, *calls[at + 1 :])
            found.append(World(locals_, world.bank, calls, _sorted(left, came.messages), world.spare))
            if world.spare:
                found.append(World(locals_, world.bank, calls, _sorted(world.messages, came.messages), world.spare - 1))
        return found

    def _answers(self, world: World) -> list[World]:
        found = []
        for at, asked in enumerate(world.calls):
            if asked:
                after, outcome = self._answer(at, asked[0], world.bank)
                calls = (*world.calls[:at], asked[1:], *world.calls[at + 1 :])
                found.append(World(world.locals, after, calls, _sorted(world.messages, (outcome,)), world.spare))
        return found

    def _come(self, at: int, local: int, message: int) -> Came:
        known = self._came.get((at, local, message))
        if known is None:
            known = self._came[at, local, message] = self._decide(at, local, message)
        return known

    def _decide(self, at: int, number: int, message: int) -> Came:
        """Decide the message's commands, check that asking again is quiet, and let every reader hear what was said."""
        context = self.contexts[at]
        states, said = dict(self.locals.things[number].states), Counter(self.locals.things[number].said)
        messages: list[int] = []
        calls: list[int] = []
        for command in self.messages.things[message][1]:
            (decider,) = [one for one in context.deciders if type(command) in one.commands]
            events = _decided(decider, command, states)
            for event in events:
                aggregate = _of(context, event)
                identity = aggregate.id_of(event)
                states[identity] = aggregate.evolve(_state(states, aggregate, identity), event)
                said[_fact(event)] += 1
                messages += self._heard(context, event)
                if any(effect.asked_by is type(event) for effect in context.effects):
                    calls.append(self.calls.number((at, event), event))
            if events:
                assert _decided(decider, command, states) == [], f"{command} was answered twice"
        return Came(self._local(states, said), tuple(messages), tuple(calls))

    def _heard(self, context: Context, event: Any) -> list[int]:
        """Who reacts to an event, and how: other contexts, timers that come due, the customer."""
        found = []
        for reader in self.contexts:
            for policy in reader.policies:
                if (policy.source, policy.event.__name__) == (context.name, type(event).__name__):
                    found.append(self._message(reader.name, policy.whenever(_read(policy.event, event))))
        for timer in context.timers:
            armed = timer.armed_by is type(event) and timer.at(event) is not None
            if armed and (timer.name != "OrderDeadline" or self.deadline):
                found.append(self._message(context.name, timer.whenever_due(event)))
        if type(event) in self.customer:
            name, command = self.customer[type(event)]
            found.append(self._message(name, (command,)))
        return found

    def _answer(self, at: int, call: int, before: int) -> tuple[int, int]:
        """The outside's answer: the bank's payment after it, and the message that brings the outcome back."""
        known = self._answered.get((call, before))
        if known is None:
            event = self.calls.things[call]
            (effect,) = [effect for effect in self.contexts[at].effects if effect.asked_by is type(event)]
            asked = _Call(self.banks.things[before])
            outcome = _finished(effect.call(event, asked))
            after = self.banks.number(asked.payment, asked.payment)
            known = self._answered[call, before] = (after, self._message(self.contexts[at].name, (outcome,)))
        return known

    def _message(self, name: str, commands: Sequence[Struct]) -> int:
        (at,) = [at for at, context in enumerate(self.contexts) if context.name == name]
        return self.messages.number((at, tuple(commands)), (at, tuple(commands)))

    def _begin(self, context: Context) -> int:
        local = self._local({}, Counter())
        if context.name != "inventory":
            return local
        stocked = self._message("inventory", (ReplenishStock(sku=MUG, quantity=ON_THE_SHELF, delivery_id="d-1"),))
        came = self._decide(self.contexts.index(context), local, stocked)
        return self._local(self.locals.things[came.local].states, Counter())

    def _local(self, states: Mapping[str, Any], said: Said) -> int:
        spelled = msgspec.json.encode(sorted(states.items()))
        return self.locals.number((spelled, tuple(sorted(said.items()))), Local(states, said))

    def _end(self, world: World) -> End:
        states = dict(chain.from_iterable(self.locals.things[local].states.items() for local in world.locals))
        said = self._said(world)
        for event in ONCE:
            assert said[event] <= 1, f"{event} was said {said[event]} times"
        reservation, stock = states[f"reservation-{ORDER}"], states[f"stock-{MUG}"]
        units = sum(line.quantity for line in reservation.lines)
        gone, held = reservation.status in ("COMMITTED", "WRITTEN_OFF"), reservation.status == "RESERVED"
        assert (stock.on_hand, stock.reserved) == (ON_THE_SHELF - units * gone, units * held), (stock, reservation)
        reasons = [fact.partition(" ")[2] for fact in said if fact.startswith("OrderCancelled ")]
        assert len(reasons) <= 1, f"cancelled for {reasons}"
        return End(
            states[f"order-{ORDER}"].status,
            reservation.status,
            states[f"payment-{ORDER}"].status,
            states[f"shipment-{ORDER}"].status,
            self.banks.things[world.bank].state,
            reasons[0] if reasons else None,
        )

    def _said(self, world: World) -> Said:
        """How often every event was said; a cancellation with its reason."""
        return sum((self.locals.things[local].said for local in world.locals), Counter())


ONCE = (
    "OrderPlaced", "OrderConfirmed", "ShipmentRecorded", "InventoryReserved", "InventoryReleased", "StockCommitted",
    "CaptureRequested", "PaymentSucceeded", "PaymentFailed", "PaymentVoided", "PaymentRefunded", "DeliveryScheduled",
    "DispatchRequested", "OrderShipped", "ShipmentCancelled", "ShipmentFailed", "OrderDelivered",
)  # fmt: skip
"""What may be said of an order once at the most."""


class _Call:
    """A call to the bank, which answers at once."""

    idempotency_key = "k-1"
    attempt = 1
    now = NOW

    def __init__(self, payment: bank.Payment) -> None:
        self.payment = payment

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        del headers
        request: Any = msgspec.json.decode(body, type=OPERATIONS[subject.removeprefix("svc.bank.")])
        poor = isinstance(request, Authorize) and request.method_token.startswith("tok_poor")
        decided = bank.decide(request, self.payment, 0 if poor else 10**12)
        self.payment = decided.payment
        return {}, msgspec.json.encode(decided.outcome)


class _Beside(dict[Asked, Any]):
    """The other aggregates that a decision may read."""

    def __init__(self, states: Mapping[str, Any], aggregate: Aggregate) -> None:
        super().__init__()
        self._states, self._aggregate = states, aggregate

    def __missing__(self, asked: Asked) -> Any:
        return _state(self._states, self._aggregate, self._aggregate.id_from(asked))


def _decided(decider: Decider, command: Struct, states: Mapping[str, Any]) -> list[Any]:
    state = _state(states, decider.aggregate, decider.aggregate.id_of(command))
    beside = () if decider.also_reads is None else (_Beside(states, decider.also_reads),)
    return [event for event in decider.decide(command, state, *beside) if not isinstance(event, Rejected)]


def _state(states: Mapping[str, Any], aggregate: Aggregate, identity: str) -> Any:
    return states.get(identity, aggregate.state())


def _of(context: Context, event: Any) -> Aggregate:
    (aggregate,) = [aggregate for aggregate in context.aggregates if type(event) in aggregate.events]
    return aggregate


def _read(view: type[Struct], event: Any) -> Any:
    """The event as a reader sees it."""
    decoder = BodyDecoder(view, strict=False)
    return decoder.decode(msgspec.json.encode(event), key=getattr(event, decoder.key_field or "", ""), at=NOW)


def _fact(event: Any) -> str:
    name = type(event).__name__
    return f"{name} {event.reason}" if name == "OrderCancelled" else name


def _finished(call: Awaitable[Struct]) -> Struct:
    """The result of a call that never waits."""
    try:
        call.__await__().send(None)
    except StopIteration as done:
        outcome: Struct = done.value
        return outcome
    raise AssertionError("a call waited for something")


def _sorted(left: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(left + more)) if more else left
