"""Inventory as one value."""

from functools import partial
from typing import get_args

from contexts.inventory import movement, reservation, stock
from contexts.inventory.commands import (
    AdjustStock,
    MovementCommand,
    RegisterStockItem,
    ReplenishStock,
    ReservationCommand,
)
from contexts.inventory.events import (
    InventoryReserved,
    ReservationEvent,
    StockCommitted,
    StockEvent,
    StockMovementRecorded,
    StockWrittenOff,
)
from contexts.inventory.movement import StockMovement
from contexts.inventory.policies import POLICIES, TIMERS
from contexts.inventory.reservation import Reservation
from contexts.inventory.settings import InventorySettings
from contexts.inventory.stock import StockItem
from shared.context import Aggregate, Context, Decider, Reads

STOCK = Aggregate(
    name="stock",
    key="sku",
    state=StockItem,
    events=get_args(StockEvent),
    evolve=stock.evolve,
    linger_s=0.1,  # No order waits for the levels of the stock.
)
MOVEMENT = Aggregate(
    name="movement",
    key="sku",
    part="movement_id",
    state=StockMovement,
    events=(StockMovementRecorded,),
    evolve=movement.evolve,
    linger_s=0.1,
)
RESERVATION = Aggregate(
    name="reservation",
    key="order_id",
    state=Reservation,
    events=get_args(ReservationEvent),
    once=(InventoryReserved,),
    evolve=reservation.evolve,
)


def context(settings: InventorySettings) -> Context:
    """The context; a reservation and a movement are decided together with the stock of their SKUs."""
    judge = partial(reservation.decide, backorder_wait=settings.backorder_wait)
    return Context(
        name="inventory",
        deciders=(
            Decider(aggregate=STOCK, commands=(RegisterStockItem,), decide=stock.decide),
            Decider(
                aggregate=MOVEMENT,
                commands=get_args(MovementCommand),
                decide=movement.decide,
                also_reads=(Reads(STOCK, movement.skus_of),),
            ),
            Decider(
                aggregate=RESERVATION,
                commands=get_args(ReservationCommand),
                decide=judge,
                also_reads=(Reads(STOCK, reservation.skus_of, reservation.skus_in),),
            ),
        ),
        accepts=(RegisterStockItem, ReplenishStock, AdjustStock),
        policies=POLICIES,
        timers=TIMERS,
        unheard=(*get_args(StockEvent), StockMovementRecorded, StockCommitted, StockWrittenOff),
    )
