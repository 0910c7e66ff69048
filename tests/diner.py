"""A small system of two contexts without a mistake, in which a test plants one: a till sells meals, a kitchen cooks."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from shared.context import Aggregate, Call, Context, Decider, Effect, Policy, Timer
from shared.saga import End, Saga


class Asked(Struct, frozen=True, kw_only=True):
    """A message with the key of its sale."""

    sale_id: str = ""


class OpenSale(Asked, frozen=True, kw_only=True): ...


class CloseSale(Asked, frozen=True, kw_only=True): ...


class GiveUpSale(Asked, frozen=True, kw_only=True): ...


class PraiseSale(Asked, frozen=True, kw_only=True): ...


class SaleOpened(Asked, frozen=True, kw_only=True): ...


class SaleClosed(Asked, frozen=True, kw_only=True): ...


class SaleGivenUp(Asked, frozen=True, kw_only=True): ...


class SalePraised(Asked, frozen=True, kw_only=True): ...


class SaleForgotten(Asked, frozen=True, kw_only=True):
    """Nobody says it."""


class CookMeal(Asked, frozen=True, kw_only=True): ...


class RecordCooked(Asked, frozen=True, kw_only=True): ...


class DiscardMeal(Asked, frozen=True, kw_only=True): ...


class MealOrdered(Asked, frozen=True, kw_only=True): ...


class MealCooked(Asked, frozen=True, kw_only=True): ...


class MealDiscarded(Asked, frozen=True, kw_only=True): ...


class State(Struct, frozen=True, kw_only=True):
    """Nothing: the tests are about the events that are published and heard."""


def decide_sale(command: Struct, _state: State) -> tuple[Struct, ...]:
    match command:
        case OpenSale():
            return (SaleOpened(),)
        case CloseSale():
            return (SaleClosed(),)
        case GiveUpSale():
            return (SaleGivenUp(),)
        case PraiseSale():
            return (SalePraised(),)
    return ()


def decide_meal(command: Struct, _state: State) -> tuple[Struct, ...]:
    match command:
        case CookMeal():
            return (MealOrdered(),)
        case RecordCooked():
            return (MealCooked(),)
        case DiscardMeal():
            return (MealDiscarded(),)
    return ()


def evolve(state: State, _event: Struct) -> State:
    return state


def whenever_sale_opened_cook_the_meal(event: SaleOpened) -> list[CookMeal]:
    """Asks the stove."""
    return [CookMeal(sale_id=event.sale_id)]


def whenever_sale_given_up_discard_the_meal(event: SaleGivenUp) -> list[DiscardMeal]:
    """Compensates whenever_sale_opened_cook_the_meal."""
    return [DiscardMeal(sale_id=event.sale_id)]


def whenever_meal_cooked_close_the_sale(event: MealCooked) -> list[CloseSale]:
    """Ends it well."""
    return [CloseSale(sale_id=event.sale_id)]


def whenever_the_guest_has_waited_too_long_give_up(event: SaleOpened) -> list[GiveUpSale]:
    """Ends it badly."""
    return [GiveUpSale(sale_id=event.sale_id)]


async def ask_the_stove(asked: MealOrdered, _call: Call) -> RecordCooked:
    return RecordCooked(sale_id=asked.sale_id)


SALE_EVENTS: tuple[type[Struct], ...] = (SaleOpened, SaleClosed, SaleGivenUp)
MEAL_EVENTS: tuple[type[Struct], ...] = (MealOrdered, MealCooked, MealDiscarded)

SALE = Aggregate(name="sale", key="sale_id", state=State, events=SALE_EVENTS, evolve=evolve)
MEAL = Aggregate(name="meal", key="sale_id", state=State, events=MEAL_EVENTS, evolve=evolve)

TILL = Context(
    name="till",
    deciders=(Decider(aggregate=SALE, commands=(OpenSale, CloseSale, GiveUpSale), decide=decide_sale),),
    accepts=(OpenSale,),
    policies=(Policy("kitchen", MealCooked, whenever_meal_cooked_close_the_sale),),
    timers=(
        Timer(
            name="SaleDeadline",
            armed_by=SaleOpened,
            at=lambda _: datetime(2026, 11, 21, tzinfo=UTC),
            whenever_due=whenever_the_guest_has_waited_too_long_give_up,
        ),
    ),
)
KITCHEN = Context(
    name="kitchen",
    deciders=(Decider(aggregate=MEAL, commands=(CookMeal, RecordCooked, DiscardMeal), decide=decide_meal),),
    policies=(
        Policy("till", SaleOpened, whenever_sale_opened_cook_the_meal),
        Policy("till", SaleGivenUp, whenever_sale_given_up_discard_the_meal),
    ),
    effects=(Effect(asked_by=MealOrdered, call=ask_the_stove, outcomes=(RecordCooked,)),),
)
MEAL_SALE = Saga(
    name="meal sale",
    key="sale_id",
    first=("till.SaleOpened",),
    ends=(
        End(name="eaten", events=("till.SaleClosed",)),
        End(name="given up", events=("till.SaleGivenUp", "kitchen.MealDiscarded")),
    ),
    slow_after=timedelta(hours=1),
    pivot="kitchen.MealCooked",
)
