"""Random commands, restarts and time in a whole shop in memory: at rest, every promise is kept.

`CHORUS_SEED` is the first seed; a failing test names its seed.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from contexts.inventory.commands import AdjustStock, ReplenishStock
from contexts.kernel import Line, ReturnId, Sku, SkuQuantity
from contexts.ordering.commands import RequestReturn
from contexts.payments.commands import RetryRefund
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned, ReportReturnReceived
from contexts.support.commands import RateSupport, ResolveTicket
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.simulation.testing import Simulation, simulation
from tests.chaos.checker import at_rest
from tests.chaos.evidence import read_streams
from tests.chaos.planted import Run
from tests.chaos.stage import told
from tests.e2e.shop import MEMBERS, token_of
from tests.unit.shopping import CANCEL, PRICE, fill_shelves, order

SKUS = (Sku("mug"), Sku("tea"), Sku("pot"))
TOKENS = ("tok_ok", "tok_ok", "tok_ok", "tok_slow", "tok_lost", "tok_poor", "tok_nocapture", "tok_norefund")
STEPS = 70
FIRST_SEED = int(os.environ.get("CHORUS_SEED", "1"))
FEW, MANY = 2, 30
SEEDS = [
    pytest.param(seed, marks=[pytest.mark.long] if seed >= FIRST_SEED + FEW else [])
    for seed in range(FIRST_SEED, FIRST_SEED + MANY)
]


class Crowd:
    """Customers, carriers and staff who do anything at any time."""

    def __init__(self, shop: Simulation, random: Random) -> None:
        self._shop = shop
        self._random = random
        self._orders: list[str] = []
        self._deliveries = 0

    def act(self) -> None:
        """Do one thing; a third of the time wait until all of it has ended."""
        acts: Mapping[Callable[[], None], int] = {
            self._place: 6,
            self._replenish: 4,
            self._adjust: 1,
            self._cancel: 1,
            self._report: 5,
            self._send_back: 4,
            self._receive: 4,
            self._ask_support: 1,
            self._wait: 2,
            self._restart: 1,
        }
        (act,) = self._random.choices(list(acts), weights=list(acts.values()))
        act()
        if self._random.random() < 1 / 3:
            self._shop.run_until_quiet()

    def _place(self) -> None:
        key = f"o-{len(self._orders)}"
        self._orders.append(key)
        lines = tuple(
            Line(sku=sku, quantity=self._random.randint(1, 4), unit_price=PRICE)
            for sku in self._random.sample(SKUS, self._random.randint(1, 3))
        )
        placed = order(
            token=token_of(key, self._random.choice(TOKENS)),
            postal_code=self._random.choice(("3000", "3000", "3000", "0000")),
            allow_backorder=self._random.random() < 2 / 3,
        )
        email = self._random.choice((*[placed.email] * 7, "\u00e4nn@example.com"))  # No mailer takes the last one.
        self._send(replace(placed, lines=lines, email=email), key)

    def _replenish(self) -> None:
        self._deliveries += 1
        delivery = ReplenishStock(quantity=self._random.randint(1, 9), delivery_id=f"d-{self._deliveries}")
        self._send(delivery, self._random.choice(SKUS))

    def _adjust(self) -> None:
        found = AdjustStock(delta=self._random.choice((-1, 1)), reason="counted")
        self._send(found, self._random.choice(SKUS))

    def _cancel(self) -> None:
        self._send(CANCEL, self._any_order())

    def _report(self) -> None:
        if not (key := self._any_order("OrderShipped")):
            return
        report = self._random.choice((ReportDelivered,) * 6 + (ReportLost, ReportReturned))
        self._send(report(tracking_no=self._shop.content(key, "OrderShipped")["tracking_no"]), key)

    def _send_back(self) -> None:
        key = self._any_order("OrderDelivered") or self._any_order()
        return_id = ReturnId(f"r-{self._random.randint(1, 3)}")
        self._send(RequestReturn(return_id=return_id, lines=self._some(), reason="too blue"), key)

    def _receive(self) -> None:
        if not (key := self._any_order("ReturnRequested")):
            return
        requested = [json.loads(one.body) for one in self._shop.events(key) if one.type == "ReturnRequested"]
        expected = self._random.choice(requested)
        lines = msgspec.convert(expected["lines"], tuple[SkuQuantity, ...])
        if self._random.random() < 1 / 4:
            lines = tuple(replace(line, quantity=self._random.randint(1, 3)) for line in lines)
        self._send(ReportReturnReceived(return_id=expected["return_id"], lines=lines), key)

    def _ask_support(self) -> None:
        about: tuple[Struct, ...] = (
            ResolveTicket(case="parcel_overdue", note="asked"),
            RateSupport(score=4),
            RetryRefund(),
        )
        self._send(self._random.choice(about), self._any_order())

    def _wait(self) -> None:
        self._shop.advance(minutes=self._random.choice((1, 20, 60 * 24, 60 * 24 * 4, 60 * 24 * 15)))

    def _restart(self) -> None:
        name = self._random.choice(MEMBERS)
        self._shop.kill(name)
        self._shop.start(name)

    def _send(self, command: Struct, key: str) -> None:
        """Send it, a quarter of the time twice, as two messages."""
        for _ in range(1 + (self._random.random() < 1 / 4)):
            self._shop.send(command, key=key)

    def _any_order(self, having: str | None = None) -> str:
        """One of the orders, or of those with such an event; empty when there is none."""
        found = [key for key in self._orders if having is None or having in self._shop.facts(key)]
        return self._random.choice(found) if found else "o-0" if having is None else ""

    def _some(self) -> tuple[SkuQuantity, ...]:
        return (SkuQuantity(sku=self._random.choice(SKUS), quantity=self._random.randint(1, 2)),)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept_whatever_happens(seed: int, tmp_path: Path) -> None:
    with simulation(seed=seed) as shop:
        for sku in SKUS:
            fill_shelves(shop, sku, 3)
        crowd = Crowd(shop, Random(seed))
        for _ in range(STEPS):
            crowd.act()
        shop.run_until_quiet()
        shop.advance(hours=2)
        streams = shop.run(read_streams(MemoryBroker(shop.server)))
        databases = {name: shop.directory / f"{name}.db" for name in MEMBERS}
        settings = catalog.settings_with({"data_dir": shop.directory})
        evidence = Run(settings, streams, databases).copied(tmp_path).evidence()
        findings = shop.run(at_rest(evidence))
    assert not findings, f"seed {seed}: {told(findings)}"
