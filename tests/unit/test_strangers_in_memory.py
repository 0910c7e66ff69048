"""Three forged events ship no parcel: a context believes an event only in the form of its publisher."""

import json
from contextlib import closing
from typing import Any

from shared.adapters.sqlite.reading import open_read_only
from shared.simulation.testing import Simulation, simulation
from tests.sagas import SHIPPED
from tests.unit.shopping import ending_of, fill_shelves, order

ADDRESS = {"street": "Hauptstr. 1", "city": "Bern", "country": "CH", "postal_code": "3000"}
AMOUNT = {"amount_minor": 500, "currency": "EUR"}
FORGED: dict[str, dict[str, Any]] = {
    "inventory.InventoryReserved": {"lines": [{"sku": "mug", "quantity": 2}]},
    "payments.PaymentSucceeded": {"payment_id": "pay-o-9", "amount": AMOUNT},
    "ordering.OrderConfirmed": {"payment_id": "pay-o-9", "address": ADDRESS},
}
"""The facts that shipping waits for, as somebody would type them for `nats pub`."""


def forge(shop: Simulation, key: str) -> None:
    for event, body in FORGED.items():
        shop.publish(f"evt.{event}.{key}", json.dumps({"order_id": key, **body}).encode())
    shop.run_until_quiet()


def set_aside(shop: Simulation, context: str) -> set[str]:
    with closing(open_read_only(shop.directory / f"{context}.db")) as database:
        return {subject.split(".")[2] for (subject,) in database.execute("SELECT subject FROM strangers")}


def test_three_forged_events_ship_no_parcel_and_are_on_record() -> None:
    with simulation(seed=1, partitions=2) as shop:
        fill_shelves(shop)
        forge(shop, "o-9")
        assert shop.facts("o-9", of="shipping") == []
        assert shop.facts("o-9") == [name.partition(".")[2] for name in FORGED]
        assert set_aside(shop, "shipping") == {name.partition(".")[2] for name in FORGED}


def test_order_ships_once_although_its_events_were_forged_before() -> None:
    with simulation(seed=1, partitions=2) as shop:
        fill_shelves(shop)
        forge(shop, "o-9")
        shop.send(order(), key="o-9")
        shop.run_until_quiet()
        said = shop.facts("o-9", of="shipping")
        assert (said.count("DispatchRequested"), said.count("OrderShipped")) == (1, 1)
        shop.send(order(), key="o-10")
        shop.run_until_quiet()
        ending_of(shop, "o-10", SHIPPED)
