"""R9: the whole shop in one process, without time. Whatever order messages come in, an order has one of its right ends.

Real policies, deciders and effects of ordering, inventory, payments and shipping, and the bank's own decider. Every
message is heard at any time after it was said, some of them twice: less order than the streams ever keep.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pytest
from msgspec import Struct

import contexts.bank.decider as bank
from contexts.bank.commands import OPERATIONS, Authorize
from contexts.inventory.commands import ReplenishStock
from contexts.inventory.events import StockCommitted, StockLevelChanged, StockWrittenOff
from contexts.kernel import Address, CustomerId, Line, MethodToken, Money, OrderId, Sku
from contexts.ordering.commands import CancelOrder, PlaceOrder
from contexts.ordering.events import OrderCancelled, OrderPlaced
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned
from contexts.shipping.events import DeliveryScheduled, OrderShipped
from shared import catalog
from shared.config.settings import Settings
from shared.context import Aggregate, Asked, Context, Decider, Effect, Rejected
from shared.wire.bodies import BodyDecoder
from tests.contract.declared import declared

RUNS = 150
STEPS_AT_MOST = 2_000
ONCE_OR_TWICE = (1, 1, 2)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MUG = Sku("mug")
PRICE = Money(amount_minor=1250)
ON_THE_SHELF = 3


Outside: TypeAlias = Mapping[type[Struct], Callable[[Any], tuple[str, Struct]]]
"""What customers and carriers do when they hear of an event: the command that they send to a context."""


class Bank:
    """The bank's decider behind one answer per key; accounts have plenty."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.payments: dict[str, bank.Payment] = {}
        self.merchant_minor = 0

    def answer(self, operation: str, body: bytes, key: str) -> bytes:
        """What the bank says, now and to the same key ever after."""
        if key not in self.answers:
            request: Any = msgspec.json.decode(body, type=OPERATIONS[operation])
            poor = isinstance(request, Authorize) and request.method_token.startswith("tok_poor")
            known = self.payments.get(request.payment_id, bank.Payment())
            decided = bank.decide(request, known, 0 if poor else 10**12)
            self.payments[request.payment_id] = decided.payment
            self.merchant_minor += decided.paid_minor
            self.answers[key] = msgspec.json.encode(decided.outcome)
        return self.answers[key]


class CallTo(NamedTuple):
    """A call that is answered before it is awaited."""

    bank: Bank
    idempotency_key: str
    attempt: int = 1
    now: datetime = NOW

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        return {}, self.bank.answer(subject.removeprefix("svc.bank."), body, headers["Idempotency-Key"])


class Shop:
    """Every context with its states, and `ahead`: all that may happen next."""

    def __init__(self, random: Random, settings: Settings, outside: Outside, *, hurried: bool) -> None:
        self.random = random
        self.outside = outside
        self.hurried = hurried
        self.contexts = declared(settings, "ordering", "inventory", "payments", "shipping")
        self.states: dict[str, Any] = {}
        self.said: list[Any] = []
        self.ahead: list[Callable[[], None]] = []
        self.overdue: list[Callable[[], None]] = []
        self.asked: dict[tuple[str, str], list[tuple[Effect, Any, str]]] = {}
        self.bank = Bank()

    def send(self, name: str, command: Struct) -> None:
        """A client's command, which may come twice."""
        (context,) = [context for context in self.contexts if context.name == name]
        self.ahead += [partial(self.put, context, command)] * self.random.choice(ONCE_OR_TWICE)

    def run(self) -> None:
        """Let everything happen that may, in any order; deadlines that nobody is in a hurry for come last."""
        for _ in range(STEPS_AT_MOST):
            if not self.ahead:
                self.ahead, self.overdue = self.overdue, []
            if not self.ahead:
                return
            self.ahead.pop(self.random.randrange(len(self.ahead)))()
        raise AssertionError(f"still going after {STEPS_AT_MOST} steps")

    def put(self, context: Context, command: Struct) -> None:
        """Decide, check that asking again is quiet, and hear what was said."""
        (decider,) = [decider for decider in context.deciders if type(command) in decider.commands]
        events = [event for event in self.decide(decider, command) if not isinstance(event, Rejected)]
        for event in events:
            (aggregate,) = [aggregate for aggregate in context.aggregates if type(event) in aggregate.events]
            identity = aggregate.id_of(event)
            self.states[identity] = aggregate.evolve(self.state(aggregate, identity), event)
        if events:
            assert [event for event in self.decide(decider, command) if not isinstance(event, Rejected)] == []
        for event in events:
            self.say(context, event)

    def decide(self, decider: Decider, command: Struct) -> tuple[Struct, ...]:
        """Ask a decider, with its stock beside it where it has one."""
        beside = () if decider.also_reads is None else (AlsoRead(self, decider.also_reads),)
        return decider.decide(command, self.state(decider.aggregate, decider.aggregate.id_of(command)), *beside)

    def state(self, aggregate: Aggregate, identity: str) -> Any:
        """An aggregate as it is now."""
        return self.states.get(identity, aggregate.state())

    def say(self, context: Context, event: Any) -> None:
        """Let every reader hear it, arm what it arms and ask what it asks."""
        self.said.append(event)
        for reader in self.contexts:
            for policy in reader.policies:
                if (policy.source, policy.event.__name__) == (context.name, type(event).__name__):
                    heard = partial(self.react, reader, policy.whenever, read(policy.event, event))
                    self.ahead += [heard] * self.random.choice(ONCE_OR_TWICE)
        for timer in context.timers:
            if timer.armed_by is type(event) and timer.at(event) is not None:
                due = self.overdue if timer.name == "OrderDeadline" and not self.hurried else self.ahead
                due.append(partial(self.react, context, timer.whenever_due, event))
        for effect in [effect for effect in context.effects if effect.asked_by is type(event)]:
            queue = self.asked.setdefault((context.name, event.order_id), [])
            queue.append((effect, event, f"{context.name}-{len(self.said)}"))
            self.ahead.append(partial(self.call, context, queue))
        if type(event) in self.outside:
            self.send(*self.outside[type(event)](event))

    def react(self, context: Context, whenever: Callable[[Any], Any], heard: Any) -> None:
        """Put the commands of a policy or a timer to the context."""
        for command in whenever(heard):
            self.put(context, command)

    def call(self, context: Context, queue: list[tuple[Effect, Any, str]]) -> None:
        """Make the first call of a key, and again with the same key, as after a crash."""
        effect, asked, key = queue.pop(0)
        outcome = finished(effect.call(asked, CallTo(self.bank, key)))
        assert type(finished(effect.call(asked, CallTo(self.bank, key)))) is type(outcome)
        self.put(context, outcome)

    def saying(self, event: type[Struct]) -> list[Any]:
        """All events of one type."""
        return [said for said in self.said if type(said) is event]


class AlsoRead(dict[Asked, Any]):
    """The other aggregates that a decision may read."""

    def __init__(self, shop: Shop, aggregate: Aggregate) -> None:
        super().__init__()
        self.shop, self.aggregate = shop, aggregate

    def __missing__(self, asked: Asked) -> Any:
        return self.shop.state(self.aggregate, self.aggregate.id_from(asked))


def read(view: type[Struct], event: Struct) -> Struct:
    """The event as a reader sees it."""
    decoder = BodyDecoder(view, strict=False)
    return decoder.decode(msgspec.json.encode(event), key=getattr(event, decoder.key_field or "", ""), at=NOW)


def finished(call: Awaitable[Struct]) -> Struct:
    """The result of a call that never waits."""
    try:
        call.__await__().send(None)
    except StopIteration as done:
        outcome: Struct = done.value
        return outcome
    raise AssertionError("a call waited for something")


class End(NamedTuple):
    """Where an order stands in every context, and why it was cancelled if it was."""

    order: str
    reservation: str
    payment: str
    shipment: str
    reason: str | None = None


SHIPPED = End("SHIPPED", "COMMITTED", "CAPTURED", "DISPATCHED")
DELIVERED = End("DELIVERED", "COMMITTED", "CAPTURED", "DELIVERED")


def cancelled(reason: str, payment: str, reservation: str = "RELEASED", shipment: str = "CANCELLED") -> End:
    return End("CANCELLED", reservation, payment, shipment, reason)


def order(
    order_id: str = "o-1", *, token: str = "tok_ok", quantity: int = 2, postal_code: str = "1011 AB"
) -> PlaceOrder:
    return PlaceOrder(
        order_id=OrderId(order_id),
        customer_id=CustomerId("c-7"),
        email="ada@shop.example",
        lines=(Line(sku=MUG, quantity=quantity, unit_price=PRICE),),
        address=Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code=postal_code),
        method_token=MethodToken(token),
        asked_at=NOW,
    )


def cancels(event: OrderPlaced | DeliveryScheduled) -> tuple[str, CancelOrder]:
    return "ordering", CancelOrder(order_id=event.order_id, reason="second thoughts")


def delivers(event: OrderShipped) -> tuple[str, ReportDelivered]:
    return "shipping", ReportDelivered(order_id=event.order_id, tracking_no=event.tracking_no)


def loses(event: OrderShipped) -> tuple[str, ReportLost]:
    return "shipping", ReportLost(order_id=event.order_id, tracking_no=event.tracking_no)


def returns(event: OrderShipped) -> tuple[str, ReportReturned]:
    return "shipping", ReportReturned(order_id=event.order_id, tracking_no=event.tracking_no)


def endings(
    *commands: PlaceOrder | CancelOrder,
    outside: Outside = MappingProxyType({}),
    hurried: bool = False,
    dispatch_delay: timedelta = timedelta(hours=1),
) -> set[tuple[End, ...]]:
    """How these orders end, over many runs; every run is checked against what must always hold."""
    orders = tuple(command for command in commands if isinstance(command, PlaceOrder))
    found = set()
    for seed in range(RUNS):
        shop = Shop(Random(seed), catalog.settings_with({"dispatch_delay": dispatch_delay}), outside, hurried=hurried)
        shop.send("inventory", ReplenishStock(sku=MUG, quantity=ON_THE_SHELF, delivery_id="d-1"))
        shop.run()
        for command in commands:
            shop.send("ordering", command)
        try:
            shop.run()
            check(shop, orders)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        found.add(tuple(end_of(shop, placed.order_id) for placed in orders))
    return found


def end_of(shop: Shop, order_id: str) -> End:
    aggregates = ("order", "reservation", "payment", "shipment")
    reasons = [event.reason for event in shop.saying(OrderCancelled) if event.order_id == order_id]
    assert len(reasons) <= 1, "cancelled twice"
    return End(*(shop.states[f"{aggregate}-{order_id}"].status for aggregate in aggregates), *reasons)


def check(shop: Shop, orders: tuple[PlaceOrder, ...]) -> None:
    """No unit and no cent is lost or found, and at most one parcel left for an order."""
    units = {placed.order_id: placed.lines[0].quantity for placed in orders}
    status = {order_id: shop.states[f"reservation-{order_id}"].status for order_id in units}
    left = sum(units[order_id] for order_id in units if status[order_id] in ("COMMITTED", "WRITTEN_OFF"))
    reserved = sum(units[order_id] for order_id in units if status[order_id] == "RESERVED")
    stock = shop.states[f"stock-{MUG}"]
    assert (stock.on_hand, stock.reserved) == (ON_THE_SHELF - left, reserved)
    assert all(0 <= change.reserved <= change.on_hand for change in shop.saying(StockLevelChanged))
    kept = [order_id for order_id in units if shop.states[f"order-{order_id}"].status in ("SHIPPED", "DELIVERED")]
    assert shop.bank.merchant_minor == sum(units[order_id] * PRICE.amount_minor for order_id in kept)
    assert max(Counter(event.order_id for event in shop.saying(OrderShipped)).values(), default=0) <= 1
    for once in (StockCommitted, StockWrittenOff):
        assert max(Counter(event.order_id for event in shop.saying(once)).values(), default=0) <= 1


def test_order_that_lacks_nothing_is_shipped() -> None:
    assert endings(order()) == {(SHIPPED,)}
    assert endings(order(), dispatch_delay=timedelta(0)) == {(SHIPPED,)}


def test_order_that_the_carrier_delivers_is_delivered() -> None:
    assert endings(order(), outside={OrderShipped: delivers}) == {(DELIVERED,)}


def test_order_without_stock_is_cancelled_and_costs_nothing() -> None:
    assert endings(order(quantity=4)) == {(cancelled("out_of_stock", "VOIDED", reservation="REJECTED"),)}


def test_order_without_money_is_cancelled_once_and_reserves_nothing() -> None:
    """F2 and F3: whether the refusal reaches inventory before the order or after it."""
    assert endings(order(token="tok_poor")) == {(cancelled("payment_failed", "FAILED"),)}


def test_order_without_stock_and_money_is_cancelled_once() -> None:
    assert endings(order(quantity=4, token="tok_poor")) == {
        (cancelled(reason, payment, reservation=reservation),)
        for reason, payment, reservation in (
            ("payment_failed", "FAILED", "REJECTED"),
            ("payment_failed", "FAILED", "RELEASED"),
            ("out_of_stock", "FAILED", "REJECTED"),
            ("out_of_stock", "VOIDED", "REJECTED"),
        )
    }


def test_refused_capture_leaves_nothing_held() -> None:
    """F4."""
    assert endings(order(token="tok_nocapture")) == {(cancelled("payment_failed", "VOIDED"),)}


@pytest.mark.parametrize("dispatch_delay", [timedelta(0), timedelta(hours=1)], ids=["at_once", "later"])
def test_cancellation_races_everything_and_has_one_judge_at_a_time(dispatch_delay: timedelta) -> None:
    """F5, F6, F8, F9."""
    assert endings(order(), outside={OrderPlaced: cancels}, dispatch_delay=dispatch_delay) == {
        (SHIPPED,),
        (cancelled("customer", "VOIDED"),),
        (cancelled("customer", "REFUNDED"),),
    }


def test_cancellation_of_a_scheduled_delivery_races_the_dispatch() -> None:
    """F7 and F8."""
    assert endings(order(), outside={DeliveryScheduled: cancels}) == {
        (SHIPPED,),
        (cancelled("customer", "REFUNDED"),),
    }


def test_cancellation_that_comes_before_its_order_does_not_forbid_it() -> None:
    cancel = CancelOrder(order_id=OrderId("o-1"), reason="second thoughts")
    assert (SHIPPED,) in endings(order(), cancel)


def test_deadline_races_the_payment_and_one_of_them_wins() -> None:
    """F13."""
    assert endings(order(), hurried=True) == {
        (SHIPPED,),
        (cancelled("expired", "VOIDED"),),
        (cancelled("expired", "REFUNDED"),),
    }


def test_parcel_that_the_carrier_refuses_is_refunded_and_its_goods_are_here() -> None:
    """F10."""
    refused = cancelled("shipment_failed", "REFUNDED", shipment="FAILED")
    assert endings(order(postal_code="0000")) == {(refused,)}


def test_cancellation_and_refusing_carrier_refund_once() -> None:
    """F10 while the customer cancels as well."""
    assert endings(order(postal_code="0000"), outside={OrderPlaced: cancels}) == {
        (cancelled("shipment_failed", "REFUNDED", shipment="FAILED"),),
        (cancelled("customer", "VOIDED"),),
        (cancelled("customer", "REFUNDED"),),
    }


def test_lost_parcel_is_refunded_and_written_off() -> None:
    """F11."""
    lost = cancelled("shipment_failed", "REFUNDED", reservation="WRITTEN_OFF", shipment="FAILED")
    assert endings(order(), outside={OrderShipped: loses}) == {(lost,)}


def test_returned_parcel_is_refunded_and_back_on_the_shelf() -> None:
    """F11."""
    returned = cancelled("shipment_failed", "REFUNDED", shipment="FAILED")
    assert endings(order(), outside={OrderShipped: returns}) == {(returned,)}


def test_refund_that_is_refused_at_first_comes_in_the_end() -> None:
    """F16."""
    returned = cancelled("shipment_failed", "REFUNDED", shipment="FAILED")
    assert endings(order(token="tok_norefund"), outside={OrderShipped: returns}) == {(returned,)}


def test_two_orders_race_for_the_last_units_and_one_has_them() -> None:
    """F24."""
    rejected = cancelled("out_of_stock", "VOIDED", reservation="REJECTED")
    assert endings(order("o-1"), order("o-2")) == {(SHIPPED, rejected), (rejected, SHIPPED)}
