"""`chorus top --metrics-port`: the metrics of sagas, and docs/metrics.md lists them."""

import re
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from contexts.sagas import ORDER, PURCHASE
from shared import catalog
from shared.config.settings import Settings
from shared.inspect.sagas.metrics import SagaCollector, serve_sagas
from shared.inspect.sagas.rates import SagaTail
from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import fill_shelves, order
from tests.waiting import WITHIN_S

DOCS = Path(__file__).parents[4] / "docs/metrics.md"
SAGAS = (PURCHASE, ORDER)
CONTEXTS = [*catalog.contexts(Settings()).values()]


def look(shop: Simulation, collector: SagaCollector) -> dict[tuple[str, ...], float]:
    """The samples after a look, by name and by the values of their labels."""
    shop.run(collector.look(shop._broker, SAGAS, CONTEXTS, shop.now))
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "le")): sample.value
        for metric in collector.collect()
        for sample in metric.samples
        if sample.labels.get("le") in (None, "5.0")
    }


def test_sagas_are_counted_by_their_ends_and_their_status_with_their_durations() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        collector = SagaCollector(SagaTail(shop._broker, SAGAS, first=1))
        for number, token in enumerate(("tok_ok", "tok_ok", "tok_poor")):
            shop.send(order(token=token), key=f"o-{number}", message_id=f"m-{number}")
        shop.run_until_quiet()
        found = look(shop, collector)
    assert found["chorus_sagas_begun_total", "purchase"] == 3
    assert found["chorus_sagas_ended_total", "purchase", "confirmed"] == 2
    assert found["chorus_sagas_ended_total", "order", "cancelled, the payment refused"] == 1
    assert found["chorus_saga_seconds_bucket", "purchase", "confirmed"] == 2
    assert found["chorus_saga_seconds_count", "purchase", "cancelled"] == 1
    assert 0 < found["chorus_saga_seconds_sum", "purchase", "confirmed"] < 10
    assert found["chorus_sagas", "purchase", "SHIPPED"] == 2
    assert (found["chorus_sagas_stuck", "order"], found["chorus_sagas_slow", "order"]) == (0, 0)


def test_sagas_whose_bank_is_away_are_stuck_and_no_more_when_it_is_back() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        collector = SagaCollector(SagaTail(shop._broker, SAGAS, first=1))
        shop.stop("bank")
        shop.send(order(), key="o-1", message_id="m-1")
        shop.run_until("o-1", "AuthorizationRequested")
        shop.advance(minutes=1)
        assert look(shop, collector)["chorus_sagas_stuck", "purchase"] == 1
        shop.start("bank")
        shop.run_until("o-1", "OrderConfirmed")
        shop.run_until_quiet()
        assert look(shop, collector)["chorus_sagas_stuck", "purchase"] == 0


def test_a_saga_has_no_gauge_while_the_context_that_began_it_does_not_answer() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        collector = SagaCollector(SagaTail(shop._broker, SAGAS, first=1))
        shop.send(order(), key="o-1", message_id="m-1")
        shop.run_until("o-1", "OrderPlaced")
        assert ("chorus_sagas_stuck", "purchase") in look(shop, collector)
        shop.stop("ordering")
        found = look(shop, collector)
    assert ("chorus_sagas_stuck", "purchase") not in found
    assert found["chorus_sagas_begun_total", "purchase"] == 1


def test_prometheus_can_read_them_and_the_docs_list_each_with_its_type_and_its_labels() -> None:
    with simulation(partitions=2) as shop:
        fill_shelves(shop)
        collector = SagaCollector(SagaTail(shop._broker, SAGAS, first=1))
        shop.send(order(), key="o-1", message_id="m-1")
        shop.run_until_quiet()
        look(shop, collector)
    port = serve_sagas(collector, "127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN_S) as answer:
        families = [*text_string_to_metric_families(answer.read().decode())]
    found = {
        family.name: (family.type, {name for one in family.samples for name in one.labels} - {"saga", "le"})
        for family in families
    }
    _, _, section = DOCS.read_text().partition("\n## Metrics of sagas\n")
    rows = re.findall(r"^\| `(chorus_\w+)` \| (\w+) \|([^|]*)\|", section, re.MULTILINE)
    assert found == {name: (kind, {*re.findall(r"`(\w+)`", further)}) for name, kind, further in rows}
