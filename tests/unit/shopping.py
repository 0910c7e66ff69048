"""The customers and staff of the shop in memory, and the checks of how its orders end."""

from collections import Counter
from contextlib import closing
from email import message_from_bytes, policy
from email.message import EmailMessage

import msgspec

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.kernel import Address, CustomerId, MethodToken, Money, Sku
from contexts.ordering.commands import CancelOrder, OrderLine, PlaceOrder
from contexts.sagas import ORDER
from shared.adapters.sqlite.reading import open_read_only
from shared.simulation.testing import Simulation
from tests.ledger import problems_of, read_ledger
from tests.sagas import Ending, fact_line

PRICE = Money(amount_minor=250)
MUG = Sku("mug")
ON_THE_SHELF = 100
TOTAL = 2 * PRICE.amount_minor


def order(
    *,
    token: str = "tok_ok",
    quantity: int = 2,
    sku: Sku = MUG,
    postal_code: str = "3000",
    allow_backorder: bool = False,
) -> PlaceOrder:
    """An order for mugs."""
    return PlaceOrder(
        customer_id=CustomerId("c-1"),
        email="ann@example.com",
        lines=(OrderLine(sku=sku, quantity=quantity, unit_price=PRICE),),
        address=Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code=postal_code),
        method_token=MethodToken(token),
        allow_backorder=allow_backorder,
    )


CANCEL = CancelOrder(reason="found it cheaper")


def fill_shelves(shop: Simulation, sku: Sku = MUG, quantity: int = ON_THE_SHELF) -> None:
    """Register an article and replenish it."""
    shop.send(RegisterStockItem(name="A mug", unit_price=PRICE), key=sku)
    shop.send(ReplenishStock(quantity=quantity, delivery_id=f"first-{sku}"), key=sku)
    shop.run_until_quiet()


def facts(shop: Simulation, key: str) -> list[str]:
    """The facts under a key, a line each, as `tests.sagas` spells them."""
    return [fact_line(event.context, event.type, msgspec.json.decode(event.body)) for event in shop.events(key)]


def ending_of(shop: Simulation, key: str, *endings: Ending, in_order: bool = True) -> Ending:
    """Assert that an order has one of these endings, with its mails; returns the ending it has.

    `in_order` is False where EVENTS was lost and mended: a fact may stand there before its cause.
    """
    said = facts(shop, key)
    ending = min(endings, key=lambda ending: (ending.missing(said) + ending.unexpected(said)).total())
    assert (ending.missing(said), ending.unexpected(said)) == (Counter(), Counter()), said
    assert not in_order or ending.is_in_order(said), said
    assert set(mails(shop, key)) == set(ending.mails)
    return ending


def ended(shop: Simulation, key: str) -> str | None:
    """How the order ended, by contexts/sagas.py; None while it goes on."""
    end = ORDER.end(f"{event.context}.{event.type}" for event in shop.events(key))
    return None if end is None else end.name


def mails(shop: Simulation, key: str) -> dict[str, EmailMessage]:
    """The mails about an order by their templates."""
    letters = sorted((shop.directory / "mail").glob(f"{key}-*.eml"))
    named = {letter.stem.removeprefix(f"{key}-"): letter for letter in letters}
    return {
        template: message_from_bytes(letter.read_bytes(), policy=policy.default)
        for template, letter in named.items()
        if "-" not in template  # Else it is about another order, whose name begins with this one's.
    }


def books(shop: Simulation) -> dict[str, int]:
    """How much money moved, in minor units, by `capture` and `refund`."""
    moved: Counter[str] = Counter()
    with closing(open_read_only(shop.directory / "bank.db")) as database:
        ledger = read_ledger(database)
    assert list(problems_of(ledger)) == []
    for one in ledger.moved:
        moved[one.reason] += one.amount_minor
    return dict(moved)


def money(*endings: Ending) -> dict[str, int]:
    """The books when orders of the usual total ended so."""
    moved = Counter(moved for ending in endings for moved in ending.money)
    return {reason: TOTAL * times for reason, times in moved.items()}


def level(shop: Simulation, sku: Sku = MUG) -> tuple[int, int]:
    """The units on hand, and the reserved units among them."""
    (state,) = shop.rows(
        "inventory",
        "SELECT json_extract(state, '$.on_hand'), json_extract(state, '$.reserved') FROM aggregates WHERE id = ?",
        f"stock-{sku}",
    )
    return state[0], state[1]
