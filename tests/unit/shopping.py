"""What the customers and the staff of a shop in memory do, and what can be seen of it afterwards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.kernel import Address, CustomerId, Line, MethodToken, Money, Sku
from contexts.ordering.commands import CancelOrder, PlaceOrder
from contexts.sagas import ORDER
from shared.simulation.testing import Simulation

PRICE = Money(amount_minor=250)
MUG = Sku("mug")
ON_THE_SHELF = 100

Told = Mapping[str, Sequence[str]]

ABOUT = ("ordering", "inventory", "payments", "shipping")
"""The contexts that a saga test is about: one that is added tomorrow may say what it likes."""

NOTED_ON_THE_WAY = {"ReservationNoted", "CancellationNoted", "ShipmentRequirementMet", "StockLevelChanged"}
"""Who was faster than whom: true, and of no consequence to the end."""


def order(*, token: str = "tok_ok", quantity: int = 2, sku: Sku = MUG, postal_code: str = "3000") -> PlaceOrder:
    """An order for mugs."""
    return PlaceOrder(
        customer_id=CustomerId("c-1"),
        email="ann@example.com",
        lines=(Line(sku=sku, quantity=quantity, unit_price=PRICE),),
        address=Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code=postal_code),
        method_token=MethodToken(token),
    )


CANCEL = CancelOrder(reason="found it cheaper")


def fill_shelves(shop: Simulation, sku: Sku = MUG, quantity: int = ON_THE_SHELF) -> None:
    """Have an article, and so many of it."""
    shop.send(RegisterStockItem(name="A mug", unit_price=PRICE), key=sku)
    shop.send(ReplenishStock(quantity=quantity, delivery_id=f"first-{sku}"), key=sku)
    shop.run_until_quiet()


def told(shop: Simulation, key: str) -> Told:
    """What each of these contexts said under a key, in its order; what only tells who was faster is left out."""
    said: dict[str, list[str]] = {}
    for event in shop.events(key):
        if event.type not in NOTED_ON_THE_WAY and event.context in ABOUT:
            said.setdefault(event.context, []).append(event.type)
    return said


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
    """How much money moved how: `capture` and `refund`, in minor units."""
    moved: Counter[str] = Counter()
    for reason, minor in shop.rows("bank", "SELECT reason, amount_minor FROM ledger WHERE reason <> 'opening'"):
        moved[reason] += minor
    return dict(moved)


def level(shop: Simulation, sku: Sku = MUG) -> tuple[int, int]:
    """How many units are on hand, and how many of them reserved."""
    (state,) = shop.rows(
        "inventory",
        "SELECT json_extract(state, '$.on_hand'), json_extract(state, '$.reserved') FROM aggregates WHERE id = ?",
        f"stock-{sku}",
    )
    return state[0], state[1]
