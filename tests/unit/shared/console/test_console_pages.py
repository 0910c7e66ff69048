"""Every page of the console shows the answer of its command, about a system in memory."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from shared.flow.checks.finding import Finding
from shared.ports.broker import Broker, BrokerUnavailableError
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


def test_contexts_show_every_partition_with_its_owner(visit: Visit) -> None:
    said = words(visit.part("/contexts").text)
    for context in ("ordering", "inventory", "payments", "shipping", "bank"):
        assert f"{context} 4 of 4 partitions have an owner" in said
    assert "chorus lag --watch" in said


def test_context_without_a_process_is_marked_and_the_remedy_is_named() -> None:
    with simulation(seed=1, at_work=("ordering",)) as running:
        visit = Visit(running)
        said = words(visit.part("/contexts").text)
        assert "payments 0 of 4 partitions have an owner" in said
        assert "nobody: chorus worker payments" in said
        running.kill("ordering")
        said = words(visit.part("/").text)
        assert "ordering does not answer" in said
        assert "chorus worker ordering" in said
        assert "chorus worker ordering" in words(visit.part("/sagas").text)


def test_streams_show_their_messages_consumers_and_differences(visit: Visit) -> None:
    page = visit.part("/streams")
    said = words(page.text)
    assert "The streams, the consumers and the schemas are as declared." in said
    assert "EVENTS" in said
    assert "payments-0" in said
    assert "0 missing" in said
    assert "nats stream info COMMANDS" in said


def test_mistakes_in_the_flow_are_looked_for_once_and_shown_by_every_page(visit: Visit) -> None:
    """The check takes 30 ms, and an open page loads itself every second."""
    planted = Finding(rule="unheard", place="contexts/x.py:1", text=HOSTILE, remedy="hear it")
    visit.part("/flow")
    found, visit.console.findings = visit.console.findings, (planted,)
    page = visit.part("/flow")
    visit.console.findings = found
    assert ("contexts/x.py:1" in page.text, HOSTILE in page.text) == (True, False)


def test_flow_is_drawn_with_the_rates_of_the_last_minute(visit: Visit) -> None:
    running, tail = visit.running, visit.console.tail
    running.run(tail.advance())
    running.send(order(), key="o-live")
    running.run_until_quiet()
    running.run(tail.advance())
    page = visit.part("/flow?saga=order")
    assert page.status == 200
    assert "<title>chorus flow --saga order</title>" in page.text
    assert re.search(r"ordering\.OrderPlaced</a></th><td class=\"number\">\d\.\d+</td>", page.text)
    assert re.search(r">\d+\.\d/s</text>", page.text)
    assert re.search(r'text-anchor="end">\d+\.\d/s</text>\s*<text[^>]*>[\d.]+ ms</text>', page.text)
    assert "chorus flow --saga order --live" in words(page.text)
    assert re.search(r"ordering\.OrderPlaced payments\.AuthorizationRequested \d\.\d [\d.]+ ms", words(page.text))
    assert visit.part("/flow?from=ordering.OrderCancelled").status == 200
    assert visit.part("/flow?from=no.Such").status == 400
    assert visit.part("/flow?saga=order&from=ordering.OrderPlaced").status == 400


def test_aggregates_of_a_kind_are_listed(visit: Visit) -> None:
    page = visit.part("/aggregates?kind=ordering/order")
    assert 'href="/aggregate/ordering/order-o-1"' in page.text
    assert "nats req api.ordering.list" in page.text
    assert 'order-o-2"' not in visit.part("/aggregates?kind=ordering/order&key=o-1").text
    assert visit.part("/aggregates?kind=no/such").status == 400


def test_aggregate_is_shown_as_of_each_version(visit: Visit) -> None:
    latest = visit.get("/aggregate/ordering/order-o-1")
    assert latest.status == 200
    versions = int(re.findall(r'type="range"[^>]* max="(\d+)"', latest.text)[0])
    assert versions >= 3
    for version in range(1, versions + 1):
        page = visit.part(f"/aggregate/ordering/order-o-1?at={version}")
        assert f"Version {version} of {versions}" in page.text
        assert f"chorus show ordering order-o-1 --at {version}" in page.text
    first = words(visit.part("/aggregate/ordering/order-o-1?at=1").text)
    assert "OrderPlaced" in first
    assert "OrderConfirmed" not in first


def test_account_reads_as_a_ledger(visit: Visit) -> None:
    running = visit.running
    for command, body in (
        ("OpenAccount", '{"owner": "Ann"}'),
        ("Deposit", '{"amount": {"amount_minor": 1000}, "reference": "salary"}'),
        ("Withdraw", '{"amount": {"amount_minor": 300}, "reference": "rent"}'),
    ):
        running.publish(f"cmd.bank.{command}.account-1", body.encode())
    running.run_until_quiet()
    said = words(visit.get("/aggregate/bank/account-account-1").text)
    assert said.index("3 2") < said.index("Withdrawn balances") < said.index("Deposited balances")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/aggregate/ordering/order-o-404", 404),
        ("/aggregate/no/such", 404),
        ("/aggregate/ordering/order-o-1?at=99", 404),
        ("/aggregate/ordering/order-o-1?at=x", 400),
    ],
)
def test_aggregate_or_version_that_is_not_there_is_named(visit: Visit, path: str, status: int) -> None:
    assert visit.get(path).status == status


class Away:
    """A broker that answers nothing while it `is_away`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.is_away = True

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            raise BrokerUnavailableError("nats: no server answers")
        return getattr(self._broker, name)


def test_pages_say_that_the_broker_is_away_and_work_again_when_it_is_back() -> None:
    with simulation(seed=1, at_work=("ordering",)) as running:
        visit = Visit(running)
        away: Any = Away(visit.console.sources.broker)
        visit.console.sources = replace(visit.console.sources, broker=away)
        for path in ("/saga/o-1", "/message/EVENTS/1", "/streams"):
            page = visit.part(path)
            assert page.status == 503
            assert "nats: no server answers" in page.text
            assert "is the server running?" in page.text
        away.is_away = False
        assert visit.part("/saga/o-1").status == 200


class Counted:
    """A broker that counts how often it is asked about a consumer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += name == "consumer_info"
        return getattr(self._broker, name)


def test_any_number_of_open_pages_asks_about_the_consumers_once_a_second() -> None:
    with simulation(seed=1, at_work=("ordering",)) as running:
        visit = Visit(running)
        counted: Any = Counted(visit.console.sources.broker)
        visit.console.sources = replace(visit.console.sources, broker=counted)
        visit.part("/streams")
        asked = counted.asked
        visit.part("/streams")
        assert (asked > 0, counted.asked) == (True, asked)
        running.run(visit.console.sources.clock.sleep(2))
        visit.part("/streams")
        assert counted.asked == 2 * asked
