"""Returned lines are worth their price less their share of the discount, and all of them together the total."""

from itertools import permutations
from random import Random

import pytest
from msgspec.structs import replace

from contexts.kernel import Line, Money, Sku, SkuQuantity
from contexts.payments.worth import still_returnable, worth_minor

MUG, TEA = Sku("mug"), Sku("tea")


def bought(*lines: tuple[Sku, int, int]) -> tuple[Line, ...]:
    return tuple(
        Line(sku=sku, quantity=quantity, unit_price=Money(amount_minor=minor)) for sku, quantity, minor in lines
    )


def units(sku: Sku, quantity: int) -> SkuQuantity:
    return SkuQuantity(sku=sku, quantity=quantity)


def test_line_is_worth_its_price() -> None:
    assert worth_minor((units(MUG, 2),), bought((MUG, 3, 250), (TEA, 1, 99)), 0, ()) == 500


def test_line_bears_its_share_of_the_discount() -> None:
    order = bought((MUG, 2, 300), (TEA, 1, 400))
    assert worth_minor((units(TEA, 1),), order, 100, ()) == 360
    assert worth_minor((units(MUG, 1),), order, 100, ()) == 270


def test_line_bears_only_its_own_discount() -> None:
    """Of 90 % off the tea."""
    mug, tea = bought((MUG, 1, 250), (TEA, 3, 250))
    order = (mug, replace(tea, discount=675))
    assert worth_minor((units(MUG, 1),), order, 675, ()) == 250
    assert worth_minor((units(TEA, 1),), order, 675, ()) == 25
    assert worth_minor((units(TEA, 3),), order, 675, (units(MUG, 1),)) == 75


def test_unit_of_a_sku_that_was_bought_at_two_prices_has_those_prices_in_turn() -> None:
    order = bought((MUG, 1, 300), (MUG, 1, 200))
    first = (units(MUG, 1),)
    assert (worth_minor(first, order, 0, ()), worth_minor(first, order, 0, first)) == (300, 200)


@pytest.mark.parametrize("order", permutations((units(MUG, 1), units(MUG, 2), units(TEA, 1))))
def test_returns_of_a_whole_order_come_to_its_total_in_any_order(order: tuple[SkuQuantity, ...]) -> None:
    """However the shares are rounded."""
    lines, discount = bought((MUG, 3, 333), (TEA, 1, 100)), 101
    given = [worth_minor((one,), lines, discount, order[:number]) for number, one in enumerate(order)]
    assert sum(given) == 3 * 333 + 100 - 101


@pytest.mark.parametrize("of_lines", [True, False])
@pytest.mark.parametrize("seed", range(50))
def test_no_return_is_worth_less_than_nothing_and_all_of_them_the_total(seed: int, *, of_lines: bool) -> None:
    random = Random(seed)
    lines = bought(*((Sku(f"s-{n}"), random.randint(1, 5), random.randint(0, 999)) for n in range(4)))
    total = sum(line.quantity * line.unit_price.amount_minor for line in lines)
    if of_lines:
        most = [line.quantity * line.unit_price.amount_minor for line in lines]
        lines = tuple(replace(line, discount=random.randint(0, at)) for line, at in zip(lines, most, strict=True))
    discount = sum(line.discount for line in lines) if of_lines else random.randint(0, total)
    singles = [units(line.sku, 1) for line in lines for _ in range(line.quantity)]
    random.shuffle(singles)
    given = [worth_minor((one,), lines, discount, tuple(singles[:number])) for number, one in enumerate(singles)]
    assert min(given) >= 0
    assert sum(given) == total - discount


def test_units_that_were_not_bought_or_were_returned_before_are_left_out() -> None:
    order = bought((MUG, 3, 250))
    assert still_returnable((units(MUG, 2), units(TEA, 1)), order, (units(MUG, 2),)) == (units(MUG, 1),)
    assert still_returnable((units(MUG, 1),), order, (units(MUG, 3),)) == ()
