"""Prices returned lines: the price at which they were bought, less their share of the discount.

Pure: no I/O, clock, randomness or logging. A unit bears its part of the discount of its line. An order of a release
that gave no discount to lines has that of the whole order spread over all of them. The worth is that of all units that
were returned so far, less that of the units that were returned before. So roundings never add up: the returns of a
whole order give back exactly its total.
"""

from contexts.kernel import Line, SkuQuantity, units_of


def still_returnable(
    lines: tuple[SkuQuantity, ...], bought: tuple[Line, ...], returned: tuple[SkuQuantity, ...]
) -> tuple[SkuQuantity, ...]:
    """The lines, each SKU once, without the units that were not bought or were returned before."""
    left = units_of(bought) - units_of(returned)
    taken = units_of(lines) & left
    return tuple(SkuQuantity(sku=sku, quantity=quantity) for sku, quantity in taken.items())


def worth_minor(
    lines: tuple[SkuQuantity, ...], bought: tuple[Line, ...], discount_minor: int, returned: tuple[SkuQuantity, ...]
) -> int:
    """The worth of these lines after others were returned already, in minor units."""
    after = _net_minor((*returned, *lines), bought, discount_minor)
    return after - _net_minor(returned, bought, discount_minor)


def _net_minor(returned: tuple[SkuQuantity, ...], bought: tuple[Line, ...], discount_minor: int) -> int:
    """The worth of the first units of each SKU, in the order of the bought lines."""
    left = units_of(returned)
    gross = discounts = 0
    for line in bought:
        taken = min(line.quantity, left[line.sku])
        left[line.sku] -= taken
        gross += taken * line.unit_price.amount_minor
        discounts += line.discount * taken // line.quantity
    if any(line.discount for line in bought):
        return gross - discounts
    total = sum(line.quantity * line.unit_price.amount_minor for line in bought)
    return gross - (discount_minor * gross // total if total else 0)
