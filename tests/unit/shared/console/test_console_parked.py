"""The console shows what is parked, and an operator retries or skips it there as with the command."""

import getpass
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from shared import catalog
from shared.adapters.sqlite.schema import NO_MIGRATIONS, prepare
from shared.adapters.sqlite.views.forwards import SqliteForwardRows, make_forwards
from shared.adapters.sqlite.views.tables import SCHEMA, SCHEMA_VERSION
from shared.console.access import Person
from shared.context import Context, Policy
from shared.ports.forwards import ForwardRow
from shared.simulation.testing import simulation
from tests.browsing import Visit
from tests.unit.shopping import fill_shelves, order

HOSTILE = "<img src=x onerror=alert(1)>"


def fails(_: object) -> NoReturn:
    raise RuntimeError(HOSTILE)


@pytest.fixture
def visit() -> Iterator[Visit]:
    """A system in which inventory cannot react to any order; o-1 has two messages that are parked."""
    with simulation(seed=1) as running:
        fill_shelves(running)
        inventory = catalog.load("inventory", running._world.settings)
        assert isinstance(inventory, Context)
        broken = replace(
            inventory,
            policies=tuple(
                Policy(policy.source, policy.event, fails)
                if policy.event.__name__ in ("OrderPlaced", "OrderCancelled")
                else policy
                for policy in inventory.policies
            ),
        )
        running.stop("inventory")
        running.start("inventory", member=broken)
        running.send(order(), key="o-1")
        running.run_until_quiet()
        running.advance(hours=1)
        yield Visit(running)


def numbers(visit: Visit) -> list[str]:
    return list(dict.fromkeys(re.findall(r'href="/parked/(inventory/\d+)"', visit.part("/parked").text)))


def test_parked_messages_are_listed_with_their_cause(visit: Visit) -> None:
    page = visit.part("/parked")
    assert len(numbers(visit)) >= 2
    assert HOSTILE not in page.text
    assert "RuntimeError: &lt;img" in page.text
    assert "waits behind the one before" in page.text


def test_parked_message_is_shown_whole(visit: Visit) -> None:
    page = visit.get(f"/parked/{numbers(visit)[0]}")
    assert page.status == 200
    for said in ("Traceback", "Nats-Msg-Id", "customer_id", 'href="/saga/o-1"', "chorus parked retry inventory/"):
        assert said in page.text
    assert HOSTILE not in page.text


def test_stuck_saga_leads_the_overview_and_says_why(visit: Visit) -> None:
    assert "inventory parked OrderPlaced" in visit.part("/").text
    assert "inventory" in visit.part("/saga/o-1").text.partition("</section>")[0]
    assert 'class="why trouble"' in visit.part("/saga/o-1").text


def test_skip_is_recorded_with_who_and_why_and_the_worker_goes_on(visit: Visit) -> None:
    number = numbers(visit)[0]
    page = visit.post(f"/parked/{number}/skip", why="a test message")
    assert page.status == 200
    assert "skipped" in page.text
    rows = visit.running.rows("inventory", "SELECT who, why FROM skipped")
    assert rows == [(f"{getpass.getuser()} (console)", "a test message")]
    assert number not in numbers(visit)


def test_skip_is_recorded_with_the_name_of_the_person_who_has_logged_in(visit: Visit) -> None:
    ann = Person("ann", "operator", "token-of-ann-0123")
    of_ann = Visit(visit.running, people=(ann,))
    assert "ann, operator" in of_ann.get("/").text
    of_ann.post(f"/parked/{numbers(visit)[0]}/skip", why="a test message")
    rows = visit.running.rows("inventory", "SELECT who, why FROM skipped")
    assert rows == [("ann (console)", "a test message")]


@pytest.mark.parametrize("why", ["", "   ", "x" * 501])
def test_skip_without_a_reason_is_refused(visit: Visit, why: str) -> None:
    number = numbers(visit)[0]
    page = visit.post(f"/parked/{number}/skip", why=why)
    assert page.status == 400
    assert "say why" in page.text
    assert number in numbers(visit)


def test_message_that_waits_behind_another_cannot_be_skipped(visit: Visit) -> None:
    first, second = numbers(visit)[:2]
    assert "It cannot be skipped: it waits behind" in visit.get(f"/parked/{second}").text
    page = visit.post(f"/parked/{second}/skip", why="no")
    assert page.status == 400
    assert first in page.text


def test_retry_decides_the_message_once_more(visit: Visit) -> None:
    visit.running.stop("inventory")
    visit.running.start("inventory")
    page = visit.post(f"/parked/{numbers(visit)[0]}/retry")
    assert page.status == 200
    visit.running.run_until_quiet()
    assert numbers(visit) == []
    assert "Nothing is parked." in visit.part("/parked").text
    assert "InventoryReserved" in visit.running.facts("o-1", of="inventory")


def test_form_of_another_site_changes_nothing(visit: Visit) -> None:
    number = numbers(visit)[0]
    access = visit.console.access
    fields = {"form_token": access.form_token(access.of_role("operator")), "why": "mine"}
    headers = {"origin": "http://evil.example"}
    assert visit.running.run(visit.browser.post(f"/parked/{number}/skip", fields, headers=headers)).status == 403
    assert number in numbers(visit)


def test_reader_sees_no_form(visit: Visit) -> None:
    visit.log_in("reader")
    assert "<form method" not in visit.get(f"/parked/{numbers(visit)[0]}").text.partition("<main")[2]


def test_message_that_is_not_parked_is_named(visit: Visit) -> None:
    assert visit.get("/parked/inventory/999").status == 404
    assert visit.post("/parked/inventory/999/retry").status == 404


def test_an_event_that_cannot_be_delivered_is_listed_and_can_be_sent_again_or_skipped(visit: Visit) -> None:
    with closing(sqlite3.connect(visit.running.directory / "insights-integration.db", isolation_level=None)) as books:
        prepare(books, Path("insights-integration.db"), SCHEMA, SCHEMA_VERSION, NO_MIGRATIONS)
        make_forwards(books)
        rows = SqliteForwardRows(books)
        rows.add([ForwardRow(0, "o-1", "ordering/order-o-1@1", 1, "ordering", "OrderPlaced", "", {}, b"{}")])
        rows.park([(1, f"the endpoint answers {HOSTILE}")], since="2026-11-28T09:00:00Z")
    page = visit.part("/parked")
    assert 'href="/parked/insights-integration/1"' in page.text
    assert HOSTILE not in page.text
    shown = visit.part("/parked/insights-integration/1")
    assert "The worker sends it again" in shown.text
    assert "The context never sends it" in shown.text
    with closing(sqlite3.connect(visit.running.directory / "insights-integration.db")) as books:
        assert books.execute("SELECT verdict FROM forwards").fetchall() == [("",)]
