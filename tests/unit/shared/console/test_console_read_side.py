"""The console shows the read side: its groups, tables and topologies; and it searches what the read side knows."""

import re
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from shared.inspect.searching import Search, search_of
from shared.simulation.testing import simulation
from tests.browsing import Visit, console_of
from tests.unit.shared.console.test_console_pages import words
from tests.unit.shopping import fill_shelves, order

HOSTILE = "%3Cscript%3Ealert(1)%3C/script%3E"


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with simulation(seed=1, with_read_sides=True) as running:
        fill_shelves(running)
        for key in ("o-1", "o-2"):
            running.send(order(), key=key)
        running.run_until_quiet()
        yield Visit(running)


def test_groups_are_shown_with_their_position_tables_and_topologies(visit: Visit) -> None:
    page = visit.part("/read-side")
    said = words(page.text)
    assert page.status == 200
    assert re.search(r"insights, projection \S+ has folded EVENTS up to \d+\. It is not behind", said)
    assert re.search(r"orders customer_id, state, .*full text \d+ ordering\.OrderPlaced", said)
    assert "topology figures_per_minute source ordering.OrderPlaced" in said
    assert "| window tumbling" in said
    assert "nats req api.insights.lag-projection" in said
    assert "chorus flow --topologies" in said


def test_overview_has_a_line_for_each_group(visit: Visit) -> None:
    assert re.search(r"insights, projection 0 \d+ runs", words(visit.part("/").text))


def test_search_finds_orders_by_words_and_how_they_begin(visit: Visit) -> None:
    assert "A search finds sagas" in visit.part("/search").text
    page = visit.part("/search?text=bern+haupt")
    said = words(page.text)
    assert page.status == 200
    assert 'href="/saga/o-1"' in page.text
    assert said.index("o-2") < said.index("o-1")
    assert "nats req api.insights.any.Search" in said
    assert "Nothing has these words." in visit.part("/search?text=nobody").text


def test_search_finds_the_orders_of_all_customers_where_queries_require_one() -> None:
    with simulation(seed=1, require_actor=True, at_work=("ordering", "inventory", "insights")) as running:
        fill_shelves(running)
        running.run_until_quiet()
        running.send(replace(order(), acting_for="c-1"), key="o-1")
        running.run_until_quiet()
        assert 'href="/saga/o-1"' in Visit(running).part("/search?text=bern").text


def test_words_stay_in_the_form_and_are_escaped(visit: Visit) -> None:
    assert 'value="bern"' in visit.get("/search?text=bern").text
    for page in (visit.get(f"/search?text={HOSTILE}"), visit.part(f"/search?text={HOSTILE}")):
        assert page.status == 200
        assert "<script>alert" not in page.text


@pytest.mark.parametrize("query", ["text=" + 201 * "x", "text=x&after=-1", "text=x&after=y"])
def test_search_that_cannot_be_is_refused(visit: Visit, query: str) -> None:
    assert visit.part(f"/search?{query}").status == 400


def test_group_without_a_process_is_named_with_the_remedy() -> None:
    with simulation(seed=1, at_work=("ordering",)) as running:
        visit = Visit(running)
        said = words(visit.part("/read-side").text)
        assert "No process is this group: chorus worker insights --group projection" in said
        assert "insights, projection" in words(visit.part("/").text)
        said = words(visit.part("/search?text=bern").text)
        assert "insights does not answer" in said
        assert "chorus worker insights --group projection" in said


def test_search_is_the_query_that_takes_a_text(visit: Visit) -> None:
    sides = console_of(visit.running).sources.reader.sides
    assert search_of(sides) == Search("insights", "projection", "any.Search")
    assert search_of(()) is None
