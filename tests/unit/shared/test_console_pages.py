"""Every page of the console shows the answer of its command, about a system in memory."""

import re
from collections.abc import Iterator
from html import unescape

import pytest

from shared.simulation.testing import simulation
from tests.browsing import Visit
from tests.unit.shopping import fill_shelves, order

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with simulation(seed=1) as running:
        fill_shelves(running)
        running.send(order(), key="o-1", message_id="place-o-1")
        running.run_until_quiet()
        running.send(order(quantity=1000), key="o-2")
        running.run_until_quiet()
        yield Visit(running)


def words(text: str) -> str:
    """The text of a page without its marks, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_live_page_is_a_frame_that_loads_its_content(visit: Visit) -> None:
    page = visit.get("/")
    assert page.status == 200
    assert 'hx-get="/"' in page.text
    assert 'data-live="/live"' in page.text


def test_overview_says_that_nothing_is_stuck_and_has_a_line_for_each_context(visit: Visit) -> None:
    page = visit.part("/")
    assert page.status == 200
    assert "Nothing is stuck." in page.text
    assert "4 of 4 partitions" in page.text
    assert "chorus top" in page.text


def test_sagas_are_listed_newest_first_with_their_status(visit: Visit) -> None:
    said = words(visit.part("/sagas?saga=order").text)
    assert said.index("o-2 CANCELLED") < said.index("o-1 SHIPPED")
    assert "chorus ls order" in said


def test_filters_choose_sagas(visit: Visit) -> None:
    said = words(visit.part("/sagas?saga=order&state=CANCELLED&oldest=1").text)
    assert "o-2 CANCELLED" in said
    assert "o-1 SHIPPED" not in said
    assert "chorus ls order --state=CANCELLED --oldest" in said
    assert "No saga is like that." in visit.part("/sagas?field=customer_id&value=nobody").text


def test_filters_stay_in_the_form(visit: Visit) -> None:
    page = visit.get("/sagas?state=%22%3E%3Cb%3E&older=1h&stuck=1")
    assert 'value="&#34;&gt;&lt;b&gt;"' in page.text
    assert 'name="stuck" value="1" checked' in page.text


@pytest.mark.parametrize("query", ["older=soon", "field=no_such", "after=-1", "after=x", "saga=no"])
def test_filter_that_cannot_be_is_named(visit: Visit, query: str) -> None:
    assert visit.part(f"/sagas?{query}").status == 400


def test_saga_says_why_it_waits_and_shows_tree_chart_and_lanes(visit: Visit) -> None:
    page = visit.part("/saga/o-1")
    said = words(page.text)
    assert page.status == 200
    assert "a command brings it on: shipping.ReportDelivered" in said
    assert "ordering.OrderPlaced" in said
    assert "chorus why o-1" in said
    assert "nats sub --stream=EVENTS --all" in said
    assert page.text.count('<rect class="event"') >= 10
    assert "<title>chorus timeline o-1</title>" in page.text
    assert 'href="/aggregate/ordering/order-o-1"' in page.text


def test_every_message_of_a_saga_shows_its_headers_and_its_body(visit: Visit) -> None:
    links = set(re.findall(r'href="(/message/\w+/\d+)"', visit.part("/saga/o-1").text))
    assert len(links) >= 20
    for link in links:
        page = visit.part(link)
        assert page.status == 200
        assert "Nats-Msg-Id" in page.text or "Timer-Id" in page.text
        assert re.search(r"<pre[^>]*>\{", page.text)
        assert re.search(r"nats stream get (EVENTS|TIMERS) \d+", page.text)


def test_message_that_is_gone_and_a_stream_that_is_not_are_named(visit: Visit) -> None:
    assert visit.get("/message/COMMANDS/1").status == 404
    assert visit.get("/message/NOTHING/1").status == 404


def test_unknown_key_is_said_to_be_unknown(visit: Visit) -> None:
    assert "nobody knows o-404" in visit.part("/saga/o-404").text.lower()


def test_key_that_cannot_be_is_refused(visit: Visit) -> None:
    assert visit.part("/saga/a.b").status == 400
    assert visit.get("/go?key=a%20b").status == 400
    assert visit.get("/go?key=o-1").headers["location"] == "/saga/o-1"


def test_ids_headers_and_bodies_of_strangers_are_escaped(visit: Visit) -> None:
    running = visit.running
    stored = running.publish(
        "evt.ordering.OrderPlaced.o-evil",
        f'{{"reason": "{HOSTILE}"'.encode(),
        {"Nats-Msg-Id": HOSTILE, "Causation-Id": f"{HOSTILE}2", "X-Other": HOSTILE},
    )
    pages = [visit.part("/saga/o-evil"), visit.get(f"/message/EVENTS/{stored.sequence}")]
    for page in pages:
        assert page.status == 200
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;alert" in page.text
