"""The bounds that the domain sets to fields of its commands, each refused at its place; malformed.py has the orders."""

import json
from typing import Any

import pytest
from msgspec import Struct

from contexts.bank.commands import Deposit
from contexts.inventory.commands import AdjustStock, RegisterStockItem, ReplenishStock
from contexts.ordering.commands import (
    AddItemsToBasket,
    AnnouncePromotion,
    ChangePrice,
    RequestReturn,
    SubmitPaymentDetails,
)
from contexts.shipping.commands import ReportReturnReceived
from contexts.support.commands import RateSupport
from shared.engine.route.incoming import Decide
from shared.wire.bodies import stamped_fields
from shared.wire.messages import partition_of
from shared.wire.streams import COMMANDS
from tests.contract.examples import examples
from tests.unit.shared.input.malformed import MEMBERS, PARTITIONS, refusal, taken_by

KEY = "k-1"
NOTHING = {"amount_minor": 0, "currency": "EUR"}
A_LINE = {"sku": "mug", "quantity": 1}


def body_of(command: type[Struct], **changed: Any) -> bytes:
    """The usual body of a command as a client sends it, with some fields otherwise."""
    stamped = stamped_fields(command).values()
    usual = {name: value for name, value in examples(command)[0].items() if name not in stamped}
    return json.dumps({**usual, **changed}).encode()


def sent(command: type[Struct], body: bytes) -> Any:
    """The command as its context decodes it."""
    (context,) = [name for name, member in MEMBERS.items() if command in member.accepts]
    subject = f"cmd.{context}.{command.__name__}.{partition_of(KEY, PARTITIONS)}.{KEY}"
    return taken_by(context, COMMANDS, subject, {}, body)


@pytest.mark.parametrize(
    ("command", "field", "largest"),
    [
        (AnnouncePromotion, "percent_off", 90),
        (RateSupport, "score", 5),
        (ReplenishStock, "quantity", 1_000_000),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_number_is_at_least_1_and_at_most_its_bound(command: type[Struct], field: str, largest: int) -> None:
    for good in (1, largest):
        assert isinstance(sent(command, body_of(command, **{field: good})).handling, Decide)
    for bad in (0, largest + 1):
        assert refusal(sent(command, body_of(command, **{field: bad})))[0] == f"$.{field}"


@pytest.mark.parametrize(
    ("command", "changed", "path"),
    [
        (AnnouncePromotion, {"from": "2026-11-21T09:00:00"}, "$.from"),
        (AnnouncePromotion, {"skus": [f"s-{number}" for number in range(501)]}, "$.skus"),
        (ChangePrice, {"unit_price": NOTHING}, "$.unit_price.amount_minor"),
        (RegisterStockItem, {"unit_price": NOTHING}, "$.unit_price.amount_minor"),
        (AddItemsToBasket, {"lines": []}, "$.lines"),
        (AddItemsToBasket, {"lines": [A_LINE] * 101}, "$.lines"),
        (RequestReturn, {"lines": [A_LINE] * 101}, "$.lines"),
        (RequestReturn, {"return_id": "r.1"}, "$.return_id"),
        (ReportReturnReceived, {"lines": []}, "$.lines"),
        (SubmitPaymentDetails, {"method_token": "4242 4242 4242 4242"}, "$.method_token"),
        (AdjustStock, {"reason": ""}, "$.reason"),
        (Deposit, {"amount": NOTHING}, "$.amount.amount_minor"),
    ],
    ids=lambda value: getattr(value, "__name__", "" if isinstance(value, dict) else value),
)
def test_field_beyond_its_bound_is_refused_at_its_place(
    command: type[Struct], changed: dict[str, Any], path: str
) -> None:
    usual = {} if command is not RequestReturn else {"return_id": "r-1"}
    assert isinstance(sent(command, body_of(command, **usual)).handling, Decide)
    assert refusal(sent(command, body_of(command, **usual | changed)))[0] == path
