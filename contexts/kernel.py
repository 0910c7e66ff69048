"""The words that contexts of the shop share: ids, money, addresses, lines, and why an order does not happen."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, NewType, TypeAlias

from msgspec import Meta, Struct

from shared.wire.bodies import MalformedBodyError

OrderId = NewType("OrderId", str)
CustomerId = NewType("CustomerId", str)
Sku = NewType("Sku", str)
PaymentId = NewType("PaymentId", str)
ReturnId = NewType("ReturnId", str)
MethodToken = NewType("MethodToken", str)

MINOR_UNITS_AT_MOST = 10**12
"""No amount of money is larger, so sums of an order's lines stay exact in every reader's integers."""

QUANTITY_AT_MOST = 1_000_000
LINES_AT_MOST = 100
"""No order, basket or return has more lines."""

CancellationReason: TypeAlias = Literal["customer", "payment_failed", "out_of_stock", "expired", "shipment_failed"]
"""Why an order does not happen. The goods, the money and the parcel of the order are undone for the same reason."""

MailChannel: TypeAlias = Literal["directory", "smtp"]
"""The way a letter left: as a file in a directory, or to a mail server."""

MailRefusal: TypeAlias = Literal["address_refused", "letter_refused"]
"""Why a letter will never leave."""

FailureStage: TypeAlias = Literal["before_dispatch", "lost", "returned"]
"""Where a parcel failed: the carrier refused it, the carrier lost it, or it came back."""

Text = Annotated[str, Meta(min_length=1, max_length=500)]
Quantity = Annotated[int, Meta(gt=0, le=QUANTITY_AT_MOST)]
ReturnIdText = Annotated[ReturnId, Meta(pattern=r"^[A-Za-z0-9_-]{1,48}\Z")]
SkuText = Annotated[Sku, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Email = Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\Z", max_length=254)]


_CARD_NUMBER = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")


class Money(Struct, frozen=True, kw_only=True):
    """An amount in minor units (cents) of one currency."""

    amount_minor: Annotated[int, Meta(ge=0, le=MINOR_UNITS_AT_MOST)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")] = "EUR"


class Address(Struct, frozen=True, kw_only=True):
    """The address of a parcel."""

    street: Text
    city: Text
    country: Text
    postal_code: Text


class Line(Struct, frozen=True, kw_only=True):
    """A quantity of one article at the price that ordering decided; `discount` is off the line, in minor units."""

    sku: SkuText
    quantity: Quantity
    unit_price: Money
    discount: Annotated[int, Meta(ge=0)] = 0


class SkuQuantity(Struct, frozen=True, kw_only=True):
    """A quantity of one article, price aside."""

    sku: SkuText
    quantity: Quantity


SkuQuantities: TypeAlias = Annotated[tuple[SkuQuantity, ...], Meta(min_length=1, max_length=LINES_AT_MOST)]
"""The lines that a client names; a SKU may stand in several of them."""


def units_of(lines: Iterable[Line | SkuQuantity]) -> Counter[Sku]:
    """The units of each SKU."""
    units: Counter[Sku] = Counter()
    for line in lines:
        units[line.sku] += line.quantity
    return units


def merged(lines: Iterable[Line | SkuQuantity]) -> tuple[SkuQuantity, ...]:
    """The lines with each SKU once, where it came first."""
    return tuple(SkuQuantity(sku=sku, quantity=quantity) for sku, quantity in units_of(lines).items())


def refuse_no_price(price: Money, path: str) -> None:
    """Raise MalformedBodyError, naming `path`, when a price is 0."""
    if price.amount_minor == 0:
        raise MalformedBodyError(path, "a price is more than 0")


def refuse_card_number(token: str, path: str) -> None:
    """Raise MalformedBodyError, naming `path`, when a token is 13 to 19 digits that end in a card's check digit."""
    if _CARD_NUMBER.fullmatch(token) is None:
        return
    digits = [int(digit) for digit in reversed(token) if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    if (sum(digits[::2]) + sum(doubled)) % 10 == 0:
        raise MalformedBodyError(path, "this is a card number; send the token that your payment provider gave for it")
