"""Prices through the engine: orders at the shop's price, and a shop that is older than its price list."""

from dataclasses import replace
from datetime import datetime, timedelta

from msgspec.structs import replace as changed

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.kernel import Money, Sku
from contexts.ordering.commands import AnnouncePromotion, ChangePrice, OrderLine
from contexts.ordering.events import PromotionCode
from contexts.ordering.settings import OrderingSettings
from contexts.ordering.upstream import StockItemRegistered, StockLevelChanged
from contexts.ordering.worker import context
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.context import Context
from shared.repair.rebuild import rebuild
from shared.simulation.testing import Simulation, simulation
from tests.sagas import SHIPPED
from tests.unit.shopping import MUG, ending_of, fill_shelves, order

PARTITIONS = 2
DEARER = Money(amount_minor=400)
NOW_LISTED = '{"status":"LISTED","unit_price":{"amount_minor":250,"currency":"EUR"},"former":[]}'


def older() -> Context:
    """Ordering before it had a price list, or knew the stock."""
    declared = context(OrderingSettings())
    policies = tuple(
        policy for policy in declared.policies if policy.event not in (StockItemRegistered, StockLevelChanged)
    )
    return replace(declared, policies=policies)


def prices(shop: Simulation) -> dict[str, str]:
    return dict(shop.rows("ordering", "SELECT id, state FROM aggregates WHERE id LIKE 'price-%'"))


def available(shop: Simulation, sku: str) -> int:
    """The units that ordering knows of."""
    query = "SELECT json_extract(state, '$.available') FROM aggregates WHERE id = ?"
    return int(shop.rows("ordering", query, f"shelf-{sku}")[0][0])


def times_noted(shop: Simulation, sku: str) -> int:
    """How many levels ordering has noted."""
    return shop.facts(sku, of="ordering").count("StockNoted")


def asked(shop: Simulation, key: str, *lines: OrderLine, **others: object) -> None:
    shop.send(changed(order(), lines=lines, **others), key=key)
    shop.run_until_quiet()


def test_order_without_prices_is_charged_at_the_prices_of_the_shop() -> None:
    """P50: the price is that of the registration."""
    with simulation(seed=1, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        asked(shop, "o-1", OrderLine(sku=MUG, quantity=2))
        ending_of(shop, "o-1", SHIPPED)
        assert shop.content("o-1", "PaymentSucceeded")["amount"] == {"amount_minor": 500, "currency": "EUR"}


def test_client_that_names_its_own_price_is_refused_and_nothing_is_reserved_or_charged() -> None:
    """F27: the rejection names the current price."""
    with simulation(seed=1, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        asked(shop, "o-1", OrderLine(sku=MUG, quantity=2, unit_price=Money(amount_minor=1)))
        assert shop.facts("o-1") == ["CommandRejected"]
        rejected = shop.content("o-1", "CommandRejected")
        assert rejected["reason"] == "price_changed"
        (detail,) = rejected["details"]
        assert detail == {"path": "$.lines[0].unit_price", "message": "the price of mug is 250 minor units of EUR"}


def test_former_price_is_taken_until_it_is_honoured_no_more() -> None:
    """F27: for as long as CHORUS_PRICE_HONOURED says."""
    with simulation(seed=1, partitions=PARTITIONS, price_honoured=timedelta(minutes=5)) as shop:
        fill_shelves(shop)
        shop.send(ChangePrice(unit_price=DEARER), key=MUG)
        shop.run_until_quiet()
        at_250 = OrderLine(sku=MUG, quantity=1, unit_price=Money(amount_minor=250))
        asked(shop, "o-now", at_250)
        shop.advance(minutes=6)
        asked(shop, "o-late", at_250)
        asked(shop, "o-new", OrderLine(sku=MUG, quantity=1, unit_price=DEARER))
        ending_of(shop, "o-now", SHIPPED)
        ending_of(shop, "o-new", SHIPPED)
        assert shop.content("o-late", "CommandRejected")["reason"] == "price_changed"


def test_promotion_lowers_the_charge() -> None:
    with simulation(seed=1, partitions=PARTITIONS) as shop:
        fill_shelves(shop)
        code = PromotionCode("SPRING")
        at: datetime = shop.now
        until = at + timedelta(days=1)
        shop.send(AnnouncePromotion(percent_off=50, begins=at - timedelta(days=1), until=until), key=code)
        shop.run_until_quiet()
        asked(shop, "o-1", OrderLine(sku=MUG, quantity=2), promotion_code=code)
        assert shop.content("o-1", "PaymentSucceeded")["amount"]["amount_minor"] == 250
        shop.advance(days=2)
        asked(shop, "o-2", OrderLine(sku=MUG, quantity=2), promotion_code=code)
        assert shop.content("o-2", "CommandRejected")["reason"] == "unknown_promotion"


def test_articles_that_were_registered_before_ordering_had_a_price_list_are_listed_once() -> None:
    with simulation(seed=1, partitions=PARTITIONS, at_work=["inventory", "payments", "bank", "shipping"]) as shop:
        shop.start("ordering", member=older())
        shop.start("notifications")
        fill_shelves(shop)
        asked(shop, "o-early", OrderLine(sku=MUG, quantity=2))  # It gives ordering a position past the registration.
        assert shop.content("o-early", "CommandRejected")["reason"] == "unknown_sku"
        shop.send(RegisterStockItem(name="Tea", unit_price=DEARER), key="tea")
        for delivery in ("d-1", "d-2"):
            shop.send(ReplenishStock(quantity=1, delivery_id=delivery), key="tea")
        shop.run_until_quiet()
        assert prices(shop) == {}
        shop.stop("ordering")
        for _ in range(2):
            shop.start("ordering")
            shop.run_until_quiet()
            assert prices(shop)["price-mug"] == NOW_LISTED
            assert (available(shop, "tea"), times_noted(shop, "tea")) == (2, 1)
            assert [shop.facts(sku).count("PriceListed") for sku in ("mug", "tea")] == [1, 1]
            shop.kill("ordering")
        shop.start("ordering")
        asked(shop, "o-1", OrderLine(sku=MUG, quantity=2))
        ending_of(shop, "o-1", SHIPPED)


def test_stranger_with_a_key_that_is_none_stops_no_worker_that_hears_the_past() -> None:
    with simulation(seed=1, partitions=PARTITIONS, at_work=["inventory"]) as shop:
        shop.start("ordering", member=older())
        fill_shelves(shop)
        shop.publish("evt.inventory.StockItemRegistered.caf\u00e9", b"{}")
        shop.publish("evt.inventory.StockLevelChanged.mug", b'{"sku": "mug", "available": 1000000, "number": 99}')
        shop.run_until_quiet()
        shop.stop("ordering")
        shop.start("ordering")
        shop.run_until_quiet()
        assert list(prices(shop)) == ["price-mug"]
        assert available(shop, "mug") < 1_000_000


def test_rebuilt_database_hears_what_the_older_release_has_not() -> None:
    """Its position is past the registration, because an older event is no cause of an own event."""
    with simulation(seed=1, partitions=1) as shop:
        fill_shelves(shop, Sku("cup"))
        shop.stop("ordering")
        shop.start("ordering", member=older())
        fill_shelves(shop)
        asked(shop, "o-1", OrderLine(sku=Sku("cup"), quantity=2))
        ending_of(shop, "o-1", SHIPPED)
        shop.stop("ordering")
        for file in shop.directory.glob("ordering.db*"):
            file.unlink()
        databases = SqliteDatabases(shop.directory)
        shop.run(rebuild(context(OrderingSettings()), MemoryBroker(shop.server), databases, partitions=1))
        assert list(prices(shop)) == ["price-cup"]
        shop.start("ordering")
        shop.run_until_quiet()
        assert prices(shop) == {"price-mug": NOW_LISTED, "price-cup": NOW_LISTED}
