"""The graph of the shop has no mistakes, and everything that happens in the shop is in it."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from contexts.sagas import SAGAS
from shared import catalog
from shared.catalog import directory, place
from shared.config.settings import Settings
from shared.flow.checks.check import check
from shared.flow.drawing.board import board as board_of
from shared.flow.graph import Reaction, derive
from shared.flow.relations import relations
from shared.flow.selection import Selection, beside, of_saga
from shared.inspect.timeline.tree import Message
from shared.simulation.testing import simulation
from tests.contract.declared import read_sides
from tests.contract.golden import BOARD, COMMAND, board
from tests.unit.shopping import CANCEL, MUG, fill_shelves, order

ROOT = Path(__file__).parents[2]
SHOP = derive(catalog.contexts(Settings()))


@pytest.fixture(scope="module")
def messages() -> Iterator[list[Message]]:
    """The events of orders that end in many ways."""
    with simulation(seed=1) as shop:
        fill_shelves(shop)
        shop.send(order(), key="paid")
        shop.send(order(token="tok_poor"), key="poor")
        shop.send(order(token="tok_nocapture"), key="uncaptured")
        shop.send(order(quantity=999), key="short")
        shop.send(order(postal_code="0000"), key="undeliverable")
        shop.send(order(token="tok_norefund"), key="cancelled")
        shop.run_until("cancelled", "OrderConfirmed")
        shop.send(CANCEL, key="cancelled")
        shop.advance(hours=2)
        keys = ("paid", "poor", "uncaptured", "short", "undeliverable", "cancelled", MUG)
        yield [event for key in keys for event in shop.events(key)]


def test_the_shop_has_no_mistakes() -> None:
    assert check(SHOP, SAGAS, ROOT / "contexts/sagas.py") == (), "run chorus flow --check"


def test_the_board_is_drawn_from_the_code() -> None:
    assert BOARD.read_text() == board(), COMMAND


BOARDS = {saga.name: of_saga(SHOP, saga, SAGAS) for saga in SAGAS}


def names_on(selection: Selection) -> set[str]:
    """The full names of the notes: events and commands as `context.Name`, reactions as `kind name`."""
    return {name for panel in selection.panels for name in board_of(panel).names}


def test_each_saga_has_a_board_of_its_own() -> None:
    drawn = {name: names_on(selection) for name, selection in BOARDS.items()}
    assert [(one, other) for one, other in combinations(drawn, 2) if drawn[one] == drawn[other]] == []
    begins = {
        name: {"client PlaceOrder", "client AddItemsToBasket", "client RequestReturn"} & drawn[name] for name in drawn
    }
    assert begins == {
        "purchase": {"client PlaceOrder"},
        "order": {"client PlaceOrder"},
        "return": {"client RequestReturn"},
        "checkout": {"client AddItemsToBasket"},
    }


def test_a_board_stops_at_the_ends_of_its_saga_and_where_another_begins() -> None:
    drawn = {name: names_on(selection) for name, selection in BOARDS.items()}
    assert "ordering.OrderPlaced" in drawn["checkout"]
    assert "inventory.ReserveStock" not in drawn["checkout"]
    assert "ordering.OrderConfirmed" in drawn["purchase"]
    assert {"shipping.OrderShipped", "payments.PaymentRefunded", "ordering.ReturnRequested"} & drawn[
        "purchase"
    ] == set()
    assert {"shipping.OrderShipped", "payments.PaymentRefunded", "ordering.DeliveryRecorded"} <= drawn["order"]
    assert {"ordering.OrderPlaced", "ordering.CancelOrder", "shipping.OrderShipped"} & drawn["return"] == set()


def test_every_reaction_is_on_a_board() -> None:
    drawn = set[Reaction]()
    for selection in (*BOARDS.values(), beside(SHOP, SAGAS)):
        drawn |= {cause for panel in selection.panels for causes in panel.commands.values() for cause in causes}
    assert {*SHOP.reactions} - drawn == set()


def test_the_context_map_has_the_read_side_the_outside_systems_and_the_shared_kernel() -> None:
    related = {(one.upstream, one.downstream): one for one in relations(SHOP, read_sides(), directory(), place)}
    heard_by_insights = {
        upstream: {*one.through} for (upstream, reader), one in related.items() if reader == "insights"
    }
    assert {"OrderPlaced", "OrderCancelled", "OrderDelivered"} - set[str]().union(*heard_by_insights.values()) == set()
    assert {"ordering", "payments", "inventory", "shipping"} <= {*heard_by_insights}
    assert related["carrier", "shipping"].through == ("hand_over",)
    assert related["carrier", "shipping"].pattern.startswith("outside system")
    assert related["mailer", "notifications"].files == ("contexts/mail.py", "contexts/notifications/effects.py")
    assert related["mailer", "support"].through == ("tell",)
    assert related["bank", "payments"].pattern.startswith("open-host service")
    (kernel,) = (one for one in related.values() if one.upstream == "kernel")
    assert (kernel.pattern, kernel.files) == ("shared kernel", ("contexts/kernel.py",))
    assert "Money" in kernel.through
    assert kernel.downstream.split(", ") == sorted({*SHOP.contexts, "insights"})


def test_each_event_follows_from_its_cause_as_the_graph_says(messages: list[Message]) -> None:
    by_id = {message.id: message for message in messages}
    observed = {
        (f"{cause.context}.{cause.type}", f"{message.context}.{message.type}")
        for message in messages
        if (cause := by_id.get(message.caused_by)) is not None
    }
    drawn = {(reaction.on, event) for reaction in SHOP.reactions for event in SHOP.following(reaction)}
    assert len(observed) > 30
    assert observed - drawn == set(), "shared/flow/outcomes.py reads too few events from a decider"


def test_an_aggregate_says_once_what_it_declares_so(messages: list[Message]) -> None:
    once = {
        event: fields
        for event, aggregate in SHOP.aggregates.items()
        for kind, fields in aggregate.once_by.items()
        if event.partition(".")[2] == kind.__name__
    }
    said = Counter(
        (event, message.id.partition("@")[0], *(json.loads(message.body)[field] for field in fields))
        for message in messages
        if (fields := once.get(event := f"{message.context}.{message.type}")) is not None
    )
    assert {event for event, *_ in said} == {*once}, "no order here leads to the others"
    assert {one: times for one, times in said.items() if times > 1} == {}
