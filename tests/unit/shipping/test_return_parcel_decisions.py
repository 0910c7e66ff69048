"""Shipping receives the parcel of a return once, with no more than was expected."""

import pytest
from msgspec.structs import replace

from contexts.kernel import OrderId, ReturnId, Sku, SkuQuantity
from contexts.shipping.commands import ExpectReturn, ReportReturnReceived
from contexts.shipping.events import ReturnExpected, ReturnParcelEvent, ReturnReceived
from contexts.shipping.return_parcel import ReturnParcel, decide, evolve
from shared.context import Rejected

ORDER, RETURN = OrderId("o-42"), ReturnId("r-1")
TWO_MUGS = (SkuQuantity(sku=Sku("mug"), quantity=2),)
ONE_MUG = (SkuQuantity(sku=Sku("mug"), quantity=1),)

EXPECT = ExpectReturn(order_id=ORDER, return_id=RETURN, lines=TWO_MUGS)
REPORT = ReportReturnReceived(order_id=ORDER, return_id=RETURN, lines=TWO_MUGS)
EXPECTED = ReturnExpected(order_id=ORDER, return_id=RETURN, lines=TWO_MUGS)
RECEIVED = ReturnReceived(order_id=ORDER, return_id=RETURN, lines=TWO_MUGS)


def after(*events: ReturnParcelEvent) -> ReturnParcel:
    parcel = ReturnParcel()
    for event in events:
        parcel = evolve(parcel, event)
    return parcel


def refusal(command: ReportReturnReceived, *events: ReturnParcelEvent) -> str:
    (refused,) = decide(command, after(*events))
    assert isinstance(refused, Rejected)
    return refused.reason


def test_parcel_is_expected_once_and_received_once() -> None:
    assert decide(EXPECT, after()) == (EXPECTED,)
    assert decide(EXPECT, after(EXPECTED)) == ()
    assert decide(REPORT, after(EXPECTED)) == (RECEIVED,)
    assert decide(REPORT, after(EXPECTED, RECEIVED)) == ()
    assert decide(EXPECT, after(EXPECTED, RECEIVED)) == ()


def test_fewer_units_may_come_and_lines_of_one_sku_merge() -> None:
    assert decide(replace(REPORT, lines=ONE_MUG), after(EXPECTED)) == (replace(RECEIVED, lines=ONE_MUG),)
    assert decide(replace(REPORT, lines=ONE_MUG + ONE_MUG), after(EXPECTED)) == (RECEIVED,)


def test_parcel_that_nobody_expects_is_refused() -> None:
    assert refusal(REPORT) == "not_expected"


@pytest.mark.parametrize(
    "lines", [TWO_MUGS + ONE_MUG, (SkuQuantity(sku=Sku("tea"), quantity=1),)], ids=["more", "another_sku"]
)
def test_more_than_was_expected_is_refused(lines: tuple[SkuQuantity, ...]) -> None:
    assert refusal(replace(REPORT, lines=lines), EXPECTED) == "too_many"


def test_second_report_with_other_lines_is_refused() -> None:
    assert refusal(replace(REPORT, lines=ONE_MUG), EXPECTED, RECEIVED) == "received_otherwise"
