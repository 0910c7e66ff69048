"""`chorus replay --diff` on a busy shop: only decisions that the code at hand takes otherwise are shown."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contexts.inventory.commands import ReplenishStock
from contexts.payments.events import PaymentAuthorized
from contexts.shipping.commands import ReportDelivered
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.config.settings import Settings
from shared.context import Call, Command, Context, Effect, Event, Policy
from shared.ports.broker import Stored
from shared.repair.rebuild import rebuild
from shared.replay.decide_again import Replay
from shared.replay.difference import Difference
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID
from tests.contract.declared import contexts
from tests.older import shipping as shipping_of_the_first_release
from tests.unit.shopping import CANCEL, fill_shelves, order

PARTITIONS = 2
DECIDING = tuple(one.name for one in contexts())


class OnlyReads:
    """A broker that can do nothing but read."""

    def __init__(self, shop: Simulation) -> None:
        self._broker = MemoryBroker(shop.server, faultless=True)

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        return self._broker.read(stream, subject, first=first, up_to=up_to)


def busy(shop: Simulation) -> None:
    """Orders with every kind of input: commands, events, deadlines, outcomes and requests, refused and doubled ones."""
    fill_shelves(shop)
    for key in ("o-1", "o-2", "o-3"):
        shop.send(order(), key=key)
    shop.send(order(token="tok_nocapture"), key="p-1")
    shop.send(order(quantity=1_000), key="p-2")
    shop.send(CANCEL, key="o-2")
    shop.publish("cmd.ordering.PlaceOrder.x-1", b"{}")
    shop.publish("evt.payments.PaymentSucceeded.o-9", b"{}", {MSG_ID: "nonsense"})  # A stranger's.
    shop.run_until_quiet()
    shop.send(ReportDelivered(tracking_no=shop.content("o-1", "OrderShipped")["tracking_no"]), key="o-1")
    shop.send(order(), key="o-1")
    shop.advance(days=20)


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=PARTITIONS) as opened:
        busy(opened)
        yield opened


def context(name: str) -> Context:
    found = catalog.load(name, Settings())
    assert isinstance(found, Context)
    return found


def replayed(
    shop: Simulation, member: Context, directory: Path | None = None, **options: Any
) -> tuple[list[Difference], Replay]:
    """The differences, and the replay with its counts."""
    with SqliteDatabases(directory or shop.directory).history(member.name) as history:
        replay = Replay(member, history, OnlyReads(shop), partitions=PARTITIONS, **options)

        async def run() -> list[Difference]:
            return [difference async for difference in replay.differences()]

        return shop.run(run()), replay


def deciding(member: Context, change: Callable[[Event], list[Event]]) -> Context:
    """The context with other events, one for one."""

    def changed(decide: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *said: tuple(new for event in decide(*said) for new in change(event))

    return replace(member, deciders=tuple(replace(one, decide=changed(one.decide)) for one in member.deciders))


def lines(differences: list[Difference]) -> list[str]:
    return [line for difference in differences for line in difference.lines()]


@pytest.mark.parametrize("name", DECIDING)
def test_the_same_code_decides_the_same_again(shop: Simulation, name: str) -> None:
    differences, replay = replayed(shop, context(name))
    assert lines(differences) == []
    assert [kind for kind in replay.counts if kind.startswith("unrecorded")] == []
    assert replay.counts["recorded events"]


def test_every_kind_of_input_is_decided_again(shop: Simulation) -> None:
    kinds = {kind for name in DECIDING for kind in replayed(shop, context(name))[1].counts}
    assert kinds == {"command", "event", "deadline", "outcome", "request", "recorded events"}


def test_a_changed_field_is_named_by_its_path_and_leads_to_no_other_difference(shop: Simulation) -> None:
    def dearer(event: Event) -> list[Event]:
        if isinstance(event, PaymentAuthorized):
            return [msgspec.structs.replace(event, amount=msgspec.structs.replace(event.amount, amount_minor=1))]
        return [event]

    differences, _ = replayed(shop, deciding(context("payments"), dearer))
    assert {(one.kind, one.recorded[0].type) for one in differences} == {("outcome", "PaymentAuthorized")}
    assert "  ~ PaymentAuthorized of payment-o-1: $.amount.amount_minor 500 -> 1" in lines(differences)


def test_an_event_that_is_not_decided_any_more_and_one_that_is_new_are_shown(shop: Simulation) -> None:
    def voids_twice(event: Event) -> list[Event]:
        match type(event).__name__:
            case "CaptureRequested":
                return []
            case "PaymentVoided":
                return [event, event]
            case _:
                return [event]

    said = lines(replayed(shop, deciding(context("payments"), voids_twice))[0])
    assert "  - CaptureRequested of payment-o-1" in said
    assert [line for line in said if line.startswith("  + PaymentVoided of payment-p-1 {")]


def test_an_event_that_led_to_nothing_and_now_leads_to_something_is_shown(shop: Simulation) -> None:
    """The context heard it, and its inbox knows that."""
    member = context("support")
    (policy,) = [one for one in member.policies if one.event.__name__ == "OrderDelivered"]
    other = next(one for one in member.policies if one.event.__name__ == "ParcelOverdue")

    def whenever_delivered_open_a_ticket(event: Any) -> Any:
        return other.whenever(
            msgspec.convert({"order_id": event.order_id, "tracking_no": "T-1", "times": 1}, other.event)
        )

    changed = replace(policy, whenever=whenever_delivered_open_a_ticket)
    policies = tuple(changed if one is policy else one for one in member.policies)
    said = lines(replayed(shop, replace(member, policies=policies))[0])
    assert said[0].startswith("event shipping.OrderDelivered o-1 (shipping/shipment-o-1@")
    assert said[1].startswith("  + TicketOpened of ticket-o-1.")


def test_an_event_that_no_policy_heard_is_no_input(shop: Simulation) -> None:
    """A new policy hears what is published from now on, so nothing that is recorded would differ."""
    member, other = context("support"), context("notifications")
    (heard,) = [one for one in other.policies if one.event.__name__ == "OrderPlaced"]
    overdue = next(one for one in member.policies if one.event.__name__ == "ParcelOverdue")

    def whenever_placed_open_a_ticket(event: Any) -> Any:
        return overdue.whenever(
            msgspec.convert({"order_id": event.order_id, "tracking_no": "T", "times": 1}, overdue.event)
        )

    added = Policy("ordering", heard.event, whenever_placed_open_a_ticket)
    assert replayed(shop, replace(member, policies=(*member.policies, added)))[0] == []


def test_code_that_raises_is_reported_as_a_message_that_would_be_parked(shop: Simulation) -> None:
    def raises(event: Event) -> list[Event]:
        raise ZeroDivisionError(type(event).__name__)

    said = lines(replayed(shop, deciding(context("shipping"), raises))[0])
    assert "  + the message would be parked: ZeroDivisionError: OrderShipped" in said


def test_few_states_in_memory_give_the_same(shop: Simulation) -> None:
    for name in ("ordering", "inventory"):
        assert replayed(shop, context(name), states_at_most=1)[0] == []


def test_a_replay_publishes_nothing_calls_nobody_and_writes_nothing(shop: Simulation) -> None:
    def snapshot() -> Any:
        streams = {name: shop.server.stream(name).last_sequence for name in ("COMMANDS", "EVENTS", "TIMERS")}
        files = {
            path: path.read_bytes() for path in sorted(shop.directory.rglob("*")) if path.suffix in (".db", ".eml")
        }
        return streams, files

    async def call(asked: Event, call: Call) -> Command:
        raise AssertionError(f"{type(asked).__name__} made the call {call.idempotency_key}")

    before = snapshot()
    for name in DECIDING:
        member = context(name)
        forbidden: tuple[Effect, ...] = tuple(replace(effect, call=call) for effect in member.effects)
        replayed(shop, replace(member, effects=forbidden))
    shop.run_until_quiet()
    assert snapshot() == before


def test_commands_and_outcomes_that_were_not_kept_are_counted_and_do_not_count_as_differences(tmp_path: Path) -> None:
    del tmp_path
    with simulation(seed=1, partitions=PARTITIONS, record_inputs=False) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1")
        shop.run_until_quiet()
        differences, replay = replayed(shop, context("payments"))
        assert differences == []
        assert replay.counts["unrecorded outcome"] == 2
        assert replay.counts["event"]


def test_a_rebuilt_database_and_events_of_an_older_version_are_replayed(tmp_path: Path) -> None:
    others = [name for name in catalog.names() if name != "shipping"]
    with simulation(seed=1, partitions=PARTITIONS, at_work=others) as shop:
        shop.start("shipping", member=shipping_of_the_first_release(Settings()))
        fill_shelves(shop)
        for key in ("o-1", "o-2"):
            shop.send(order(), key=key)
        shop.run_until_quiet()
        assert lines(replayed(shop, context("shipping"))[0]) == []
        for name in ("shipping", "inventory"):
            broker = MemoryBroker(shop.server, faultless=True)
            shop.run(rebuild(context(name), broker, SqliteDatabases(tmp_path), partitions=PARTITIONS))
            assert lines(replayed(shop, context(name), tmp_path)[0]) == []


def test_the_past_that_a_new_policy_heard_out_of_order_is_no_difference() -> None:
    """It hears the last level of an article before those that were waiting for it in the stream."""
    newest = context("ordering")
    without = tuple(one for one in newest.policies if one.event.__name__ != "StockLevelChanged")
    others = [name for name in catalog.names() if name != "ordering"]
    with simulation(seed=1, partitions=PARTITIONS, at_work=others) as shop:
        shop.start("ordering", member=replace(newest, policies=without))
        fill_shelves(shop)
        shop.stop("ordering")
        for number in (1, 2):
            shop.send(ReplenishStock(quantity=number, delivery_id=f"d-{number}"), key="mug")
            shop.run_until_quiet()
        shop.start("ordering")
        shop.run_until_quiet()
        assert shop.facts("mug", of="ordering") == ["PriceListed", "StockNoted"]
        assert lines(replayed(shop, newest)[0]) == []


def test_times_of_events_that_were_published_again_do_not_count() -> None:
    """A stream that lost its events got them back from the journals, with another time of storage."""
    with simulation(seed=1, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1")
        shop.run_until_quiet()
        again = {
            number: message._replace(at_ns=message.at_ns + 3_600 * 10**9)
            for number, message in shop.server.stream("EVENTS").messages.items()
        }
        shop.server.stream("EVENTS").messages.update(again)
        for name in ("shipping", "ordering"):
            assert lines(replayed(shop, context(name))[0]) == []
