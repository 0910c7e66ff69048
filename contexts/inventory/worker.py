"""Inventory as one value."""

from typing import get_args

from contexts.inventory import reservation, stock
from contexts.inventory.commands import AdjustStock, RegisterStockItem, ReplenishStock
from contexts.inventory.events import ReservationEvent, StockEvent
from contexts.inventory.policies import POLICIES
from contexts.inventory.reservation import Reservation, ReservationCommand
from contexts.inventory.stock import StockCommand, StockItem
from shared.context import Aggregate, Context, Decider
from shared.settings import Settings

STOCK = Aggregate(
    name="stock",
    key="sku",
    state=StockItem,
    events=get_args(StockEvent),
    evolve=stock.evolve,
    linger_s=0.1,  # No order waits to hear what is left on the shelves.
)
RESERVATION = Aggregate(
    name="reservation",
    key="order_id",
    state=Reservation,
    events=get_args(ReservationEvent),
    evolve=reservation.evolve,
)


def context(settings: Settings) -> Context:  # noqa: ARG001 - every context is declared by a function of the settings
    """The context; a reservation is decided together with the stock of its SKUs."""
    return Context(
        name="inventory",
        deciders=(
            Decider(aggregate=STOCK, commands=get_args(StockCommand), decide=stock.decide),
            Decider(
                aggregate=RESERVATION,
                commands=get_args(ReservationCommand),
                decide=reservation.decide,
                beside=STOCK,
                names=reservation.skus_of,
            ),
        ),
        accepts=(RegisterStockItem, ReplenishStock, AdjustStock),
        policies=POLICIES,
    )
