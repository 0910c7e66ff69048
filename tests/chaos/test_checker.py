"""The checker finds every bug that is planted in a copy of a sound shop, and finds nothing in the shop itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contexts.inventory.commands import ReplenishStock
from contexts.kernel import CustomerId, ReturnId, SkuQuantity
from contexts.ordering.commands import AddItemsToBasket, RequestReturn
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturnReceived
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.simulation.testing import simulation
from shared.wire.messages import MSG_ID
from tests.chaos.checker import always, at_rest, recomputed, settled
from tests.chaos.evidence import Evidence, read_streams
from tests.chaos.finding import Finding, Invariant
from tests.chaos.order_mix import KINDS
from tests.chaos.planted import BASKET, LOST, PLANTED, PLANTED_SKU, PLANTED_WAIT, SENT, WAITED_FOR
from tests.chaos.run import Run
from tests.chaos.stage import told
from tests.chaos.strangers import FORGED, STRANGERS, spoilt
from tests.e2e.shop import MEMBERS, token_of
from tests.sagas import BACKORDERED, SERVED
from tests.sagas import LOST as LOST_PARCEL
from tests.unit.shopping import CANCEL, ending_of, fill_shelves, order


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One order of each kind that has ended, in a shop in memory: its databases are as real as a worker's."""
    with simulation(seed=1) as open_shop:
        fill_shelves(open_shop, PLANTED_SKU)
        for kind in KINDS:
            key = f"o-planted-{kind.name}"
            token = token_of(key, kind.token)
            open_shop.send(order(sku=PLANTED_SKU, token=token, postal_code=kind.postal_code), key=key)
            if kind.is_cancelled:
                open_shop.run_until(key, "InventoryReserved")
                open_shop.send(CANCEL, key=key)
        open_shop.run_until_quiet()
        for kind in KINDS:
            ending_of(open_shop, f"o-planted-{kind.name}", *kind.endings)
        fill_shelves(open_shop, PLANTED_WAIT, 1)
        for key in ("o-planted-served", "o-planted-waits"):
            open_shop.send(order(sku=PLANTED_WAIT, allow_backorder=True), key=key)
            open_shop.run_until_quiet()
        open_shop.send(ReplenishStock(quantity=1, delivery_id="d-2"), key=PLANTED_WAIT)
        open_shop.run_until_quiet()
        ending_of(open_shop, "o-planted-served", SERVED)
        ending_of(open_shop, "o-planted-waits", BACKORDERED)
        for key in (SENT, WAITED_FOR):
            open_shop.send(order(sku=PLANTED_SKU), key=key)
            open_shop.run_until_quiet()
            tracking_no = open_shop.content(key, "OrderShipped")["tracking_no"]
            open_shop.send(ReportDelivered(tracking_no=tracking_no), key=key)
            open_shop.run_until_quiet()
            lines = (SkuQuantity(sku=PLANTED_SKU, quantity=1),)
            open_shop.send(RequestReturn(return_id=ReturnId("r-1"), lines=lines, reason="too blue"), key=key)
            open_shop.run_until_quiet()
        open_shop.send(ReportReturnReceived(return_id=ReturnId("r-1"), lines=lines), key=SENT)
        open_shop.send(order(sku=PLANTED_SKU), key=LOST)
        open_shop.run_until_quiet()
        open_shop.send(ReportLost(tracking_no=open_shop.content(LOST, "OrderShipped")["tracking_no"]), key=LOST)
        open_shop.run_until_quiet()
        ending_of(open_shop, LOST, LOST_PARCEL)
        lines = (SkuQuantity(sku=PLANTED_SKU, quantity=1),)
        open_shop.send(AddItemsToBasket(customer_id=CustomerId("c-1"), lines=lines), key=BASKET)
        open_shop.run_until_quiet()
        streams = open_shop.run(read_streams(MemoryBroker(open_shop.server)))
        databases = {name: open_shop.directory / f"{name}.db" for name in MEMBERS}
        ended = Run(catalog.settings_with({"data_dir": open_shop.directory}), streams, databases)
        return ended.copied(tmp_path_factory.mktemp("planted"))


async def found_at_rest(evidence: Evidence, sought: Callable[[Finding], bool]) -> list[Finding]:
    """The findings at rest. The recomputation takes longer than all other checks, and runs only if those do not do."""
    findings = [*always(evidence), *settled(evidence)]
    return findings if any(map(sought, findings)) else [*findings, *await recomputed(evidence)]


async def test_nothing_is_found_where_nothing_is_wrong(run: Run) -> None:
    findings = await at_rest(run.evidence())
    assert not findings, told(findings)


@pytest.mark.parametrize("changes", STRANGERS.values(), ids=STRANGERS.keys())
async def test_stranger_among_the_events_is_found(
    run: Run, tmp_path: Path, changes: Callable[[Run], dict[str, Any]]
) -> None:
    copy = run.copied(tmp_path)
    spoilt(copy, "o-forged", **changes(copy))
    evidence = copy.evidence()
    (stranger,) = evidence.strangers
    findings = await found_at_rest(evidence, lambda finding: finding.invariant == "I10")
    assert [f.where for f in findings if f.invariant == "I10"] == [stranger.id], told(findings)


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("event", ["OrderShipped", "OrderPlaced", "CustomerNotified", "StockLevelChanged"])
async def test_forged_event_of_the_right_form_is_found(
    run: Run, tmp_path: Path, event: str, changes: Callable[[Run], dict[str, Any]]
) -> None:
    copy = run.copied(tmp_path)
    spoilt(copy, "o-forged", **changes(copy))
    forged = copy.events()[-1]
    copy.events()[-1] = forged._replace(subject=forged.subject.replace("OrderShipped", event))
    evidence = copy.evidence()
    assert evidence.strangers == []
    findings = await found_at_rest(evidence, lambda finding: finding.where == forged.headers[MSG_ID])
    assert forged.headers[MSG_ID] in {finding.where for finding in findings}, told(findings)


@pytest.mark.parametrize(("plant", "invariant"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
async def test_planted_bug_is_found(
    run: Run, tmp_path: Path, plant: Callable[[Run], None], invariant: Invariant
) -> None:
    spoilt = run.copied(tmp_path)
    plant(spoilt)
    findings = await found_at_rest(spoilt.evidence(), lambda finding: finding.invariant == invariant)
    assert invariant in {finding.invariant for finding in findings}, told(findings)


@pytest.mark.long
@pytest.mark.parametrize("plant", [plant for plant, _ in PLANTED])
async def test_every_check_makes_sense_of_a_planted_bug(run: Run, tmp_path: Path, plant: Callable[[Run], None]) -> None:
    spoilt = run.copied(tmp_path)
    plant(spoilt)
    assert await at_rest(spoilt.evidence())
