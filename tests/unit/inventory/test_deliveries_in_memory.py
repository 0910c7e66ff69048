"""A delivery counts once: through the engine, after a restart and after a rebuild of the database (R26)."""

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.inventory.settings import InventorySettings
from contexts.inventory.worker import context
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.config.settings import Settings
from shared.repair.rebuild import rebuild
from shared.simulation.testing import Simulation, simulation
from shared.streams.file import read_topology
from tests.unit.shopping import MUG, PRICE, level

REGISTER = RegisterStockItem(name="A mug", unit_price=PRICE)
DELIVERIES = [ReplenishStock(quantity=2, delivery_id=f"2026/delivery no. {number}") for number in range(150)]
COUNTED = (300, 0)


def send_all(running: Simulation, when: str) -> None:
    """Send every delivery, each as a new message."""
    for number, delivery in enumerate(DELIVERIES):
        running.send(delivery, key=MUG, message_id=f"{when}-{number}")
    running.run_until_quiet()


def states(running: Simulation) -> dict[str, tuple[int, str]]:
    """The version and the state of every aggregate, by id."""
    rows = running.rows("inventory", "SELECT id, version, state FROM aggregates")
    return {identity: (version, state) for identity, version, state in rows}


def rebuild_inventory(running: Simulation) -> None:
    """Delete the database and rebuild it from EVENTS."""
    running.stop("inventory")
    for file in running.directory.glob("inventory.db*"):
        file.unlink()
    broker, partitions = MemoryBroker(running.server), read_topology(Settings().streams_file).partitions
    running.run(
        rebuild(context(InventorySettings()), broker, SqliteDatabases(running.directory), partitions=partitions)
    )
    running.run_until_quiet()


def test_no_delivery_counts_again_however_many_came_since() -> None:
    with simulation(seed=4, at_work=["inventory"]) as running:
        running.send(REGISTER, key=MUG)
        send_all(running, "first")
        assert level(running) == COUNTED
        send_all(running, "again")
        assert level(running) == COUNTED
        before = states(running)
        rebuild_inventory(running)
        assert states(running) == before
        running.start("inventory")
        send_all(running, "after-the-rebuild")
        assert level(running) == COUNTED
        running.send(ReplenishStock(quantity=3, delivery_id=DELIVERIES[0].delivery_id), key=MUG)
        running.run_until_quiet()
        assert running.content(MUG, "CommandRejected")["reason"] == "id_known_otherwise"


def test_state_of_the_stock_does_not_grow_with_its_deliveries() -> None:
    with simulation(seed=5, at_work=["inventory"]) as running:
        running.send(REGISTER, key=MUG)
        running.send(DELIVERIES[0], key=MUG)
        running.run_until_quiet()
        _, one_delivery = states(running)[f"stock-{MUG}"]
        send_all(running, "all")
        _, many_deliveries = states(running)[f"stock-{MUG}"]
        assert len(many_deliveries) <= len(one_delivery) + len("300") + len("151")
        assert len(states(running)) == 1 + len(DELIVERIES)
