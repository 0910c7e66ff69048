"""The graph of the shop has no mistakes, and everything that happens in the shop is in it."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from contexts.sagas import SAGAS
from shared import catalog
from shared.config.settings import Settings
from shared.flow.check import check
from shared.flow.graph import derive
from shared.inspect.timeline import Message
from shared.simulation.testing import simulation
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


def test_each_event_follows_from_its_cause_as_the_graph_says(messages: list[Message]) -> None:
    by_id = {message.id: message for message in messages}
    observed = {
        (f"{cause.context}.{cause.type}", f"{message.context}.{message.type}")
        for message in messages
        if (cause := by_id.get(message.caused_by)) is not None
    }
    drawn = {(reaction.on, event) for reaction in SHOP.reactions for event in SHOP.following(reaction)}
    assert len(observed) > 30
    assert observed - drawn == set(), "shared/inspect/outcomes.py reads too few events from a decider"


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
