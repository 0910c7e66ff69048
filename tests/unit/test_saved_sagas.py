"""`chorus replay --save-as-test` writes a saga as a test that passes when it is pasted."""

from datetime import timedelta
from typing import Any

import pytest

from contexts.bank.commands import OpenAccount
from contexts.shipping.commands import ReportDelivered
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.config.settings import Settings
from shared.context import Context
from shared.replay.saga_recording import NoSuchSagaError, Recording, record
from shared.replay.saga_test import ComesOutOtherwiseError, played, source
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID, OCCURRED_AT
from tests.unit.shopping import CANCEL, fill_shelves, order

PARTITIONS = 2


def recorded(shop: Simulation, key: str, **settings: Any) -> tuple[Recording, Recording]:
    members = [one for one in catalog.contexts(Settings()).values() if isinstance(one, Context)]
    databases, broker = SqliteDatabases(shop.directory), MemoryBroker(shop.server, faultless=True)
    return shop.run(record(key, members, databases, broker, partitions=PARTITIONS, settings=settings))


def passes(text: str) -> list[str]:
    """Run the only test of a module; returns its lines."""
    module: dict[str, Any] = {}
    exec(compile(text, "test_saga.py", "exec"), module)  # As a person pastes it.
    (test,) = [value for name, value in module.items() if name.startswith("test_")]
    test()
    return text.splitlines()


def test_a_delivered_order_passes_with_the_commands_of_its_articles_and_of_no_other_order() -> None:
    with simulation(seed=5, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-41")
        shop.advance(hours=1)
        shop.send(order(), key="o-42", message_id="place-o-42")
        shop.advance(minutes=3)
        shop.send(ReportDelivered(tracking_no=shop.content("o-42", "OrderShipped")["tracking_no"]), key="o-42")
        shop.run_until_quiet()
        facts = shop.facts("o-42", of="shipping")
        narrow, wide = recorded(shop, "o-42")
    assert {step.subject.rpartition(".")[2] for step in narrow.steps} == {"mug", "o-42"}
    assert {step.subject.rpartition(".")[2] for step in wide.steps} == {"mug", "o-42", "o-41"}
    said = passes(source(played(narrow, wide)))
    assert narrow.facts["shipping"] == facts
    assert "def test_saga_o_42() -> None:" in said
    assert max(map(len, said)) <= 120


def test_a_saga_that_says_the_same_events_with_other_amounts_fails() -> None:
    with simulation(seed=5, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(quantity=2), key="o-42")
        shop.run_until_quiet()
        text = source(played(*recorded(shop, "o-42")))
    assert "'total': {'amount_minor': 500, 'currency': 'EUR'}" in "\n".join(passes(text))
    assert max(map(len, text.splitlines())) <= 120
    with pytest.raises(AssertionError) as failed:
        passes(text.replace('"quantity":2', '"quantity":3'))
    assert "running.facts" not in text.splitlines()[failed.traceback[-1].lineno]


def test_a_context_whose_facts_came_in_another_order_lets_no_other_context_forget_its_own() -> None:
    with simulation(seed=5, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-42")
        shop.run_until_quiet()
        narrow, _ = recorded(shop, "o-42")
    other = {**narrow.facts, "notifications": narrow.facts["notifications"][::-1]}
    said = "\n".join(passes(source(played(narrow._replace(facts=other)))))
    assert 'assert running.facts("o-42", of="ordering") == [' in said
    assert 'assert sorted(running.facts("o-42", of="notifications")) == [' in said


def test_a_message_of_a_stranger_under_the_key_is_no_fact() -> None:
    with simulation(seed=1, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1")
        shop.run_until_quiet()
        said = {MSG_ID: "somebody", OCCURRED_AT: "yesterday"}
        shop.publish('evt.ordering.Stranger",.o-1', b"{}", said)
        shop.run_until_quiet()
        whole, _ = recorded(shop, "o-1")
    assert set(whole.facts["ordering"]) == {"OrderPlaced", "OrderConfirmed", "ShipmentRecorded"}


def test_an_order_that_lost_the_last_mug_to_another_one_needs_that_one_too() -> None:
    with simulation(seed=5, partitions=PARTITIONS) as shop:
        fill_shelves(shop, quantity=2)
        shop.send(order(), key="o-41")
        shop.run_until_quiet()
        shop.send(order(), key="o-42")
        shop.run_until_quiet()
        assert "InventoryRejected" in shop.facts("o-42")
        saga = played(*recorded(shop, "o-42"))
    said = passes(source(saga))
    assert any("PlaceOrder.o-41" in line for line in said)


@pytest.mark.long
def test_settings_and_the_accounts_of_the_customer_belong_to_the_test() -> None:
    delay = timedelta(hours=2)
    with simulation(seed=5, partitions=PARTITIONS, dispatch_delay=delay) as shop:
        fill_shelves(shop)
        shop.send(OpenAccount(owner="Ann"), key="tok_ok_ann")
        shop.run_until_quiet()
        shop.send(order(token="tok_ok_ann"), key="o-42")
        shop.advance(minutes=10)
        shop.send(CANCEL, key="o-42")
        shop.run_until_quiet()
        saga = played(*recorded(shop, "o-42", dispatch_delay=delay))
    said = passes(source(saga))
    assert any("partitions=2, dispatch_delay=timedelta(seconds=7200.0)) as running:" in line for line in said)
    assert any("OpenAccount" in line for line in said)


@pytest.mark.long
def test_a_saga_that_goes_on_is_held_to_what_it_has_said_so_far() -> None:
    others = [name for name in catalog.names() if name != "shipping"]
    with simulation(seed=5, partitions=PARTITIONS, at_work=others) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-42")
        shop.run_until_quiet()
        saga = played(*recorded(shop, "o-42"))
    assert saga.goes_on
    assert any("[:" in line or "Counter(" in line for line in passes(source(saga)))


def test_a_saga_that_is_not_there_and_one_without_its_commands_are_told_apart() -> None:
    with simulation(seed=5, partitions=PARTITIONS, record_inputs=False) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-42")
        shop.run_until_quiet()
        with pytest.raises(NoSuchSagaError, match="EVENTS has no event under o-1"):
            recorded(shop, "o-1")
        with pytest.raises(NoSuchSagaError, match="CHORUS_RECORD_INPUTS was off"):
            recorded(shop, "o-42")


@pytest.mark.long
def test_facts_that_do_not_come_out_again_are_named() -> None:
    with simulation(seed=5, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-42")
        shop.run_until_quiet()
        narrow, _ = recorded(shop, "o-42")
    with pytest.raises(ComesOutOtherwiseError, match="shipping said Shipped; in virtual time it says Shipment"):
        played(narrow._replace(facts={"shipping": ["Shipped"]}))
