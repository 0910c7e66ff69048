"""Commands as a client spells them."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct

from contexts.kernel import Address, Email, Line, Quantity
from shared import catalog
from shared.config.settings import Settings
from shared.context import Context
from shared.send.compose import ComposeError, check_body, compose, find_command
from shared.send.fields import fields_of
from tests.unit.shared.cli.test_cli import chorus


class PlaceOrder(Struct, frozen=True, kw_only=True):
    email: Email
    lines: tuple[Line, ...]
    address: Address
    allow_backorder: bool = False
    order_id: str = ""


class Replenish(Struct, frozen=True, kw_only=True):
    quantity: Quantity


class Cancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: str


ORDERING = Context(name="ordering", deciders=(), accepts=(PlaceOrder, Replenish))
BANK = Context(name="bank", deciders=())
CONTEXTS: Mapping[str, Context] = {"ordering": ORDERING, "bank": BANK}

ADDRESS = ("address.street=Main 1", "address.city=Bern", "address.country=CH", "address.postal_code=3000")


def composed(*words: str) -> Any:
    return json.loads(compose(PlaceOrder, words))


def test_dots_and_brackets_spell_what_is_inside() -> None:
    line = ("lines[0].sku=apple", "lines[0].quantity=2", "lines[0].unit_price.amount_minor=250")
    assert composed("email=ann@example.com", *line, *ADDRESS) == {
        "email": "ann@example.com",
        "lines": [{"sku": "apple", "quantity": 2, "unit_price": {"amount_minor": 250}}],
        "address": {"street": "Main 1", "city": "Bern", "country": "CH", "postal_code": "3000"},
    }


def test_a_number_is_read_where_the_command_has_one_and_nowhere_else() -> None:
    assert json.loads(compose(Replenish, ("quantity=10",))) == {"quantity": 10}
    assert composed("email=a@b", "lines=[]", "allow_backorder=true", *ADDRESS)["allow_backorder"] is True
    assert composed("email=a@b", "lines=[]", *ADDRESS)["address"]["postal_code"] == "3000"


def test_json_may_stand_for_a_part() -> None:
    lines = '[{"sku": "apple", "quantity": 1, "unit_price": {"amount_minor": 5}}]'
    assert composed("email=a@b", f"lines={lines}", *ADDRESS)["lines"][0]["sku"] == "apple"


def test_what_was_not_said_is_not_sent() -> None:
    assert "allow_backorder" not in composed("email=a@b", "lines=[]", *ADDRESS)


@pytest.mark.parametrize(
    ("words", "mended"),
    [
        (("quantity",), "'quantity' is not field=value"),
        (("quantity=ten",), r"\$\.quantity"),
        (("quantity=0",), r"\$\.quantity"),
        (("quantity=1", "quantity=2"), "quantity is given twice"),
        (("quantity=1", "quantity.of=2"), "quantity"),
        (("quantity=1", "quantty=2"), r"no field quantty \(did you mean 'quantity'\?\)"),
        (("quantity=1", "lots[1]=2"), r"number list items from \[0\]"),
        (("quantity=1", "lots={"), "not JSON"),
        (("quantity..of=2",), "is not field=value"),
        ((), "Replenish: lacks quantity"),
    ],
)
def test_a_mistake_is_reported_with_its_place(words: tuple[str, ...], mended: str) -> None:
    with pytest.raises(ComposeError, match=mended):
        compose(Replenish, words)


def test_a_field_that_the_command_forbids_is_answered_with_what_was_meant() -> None:
    with pytest.raises(ComposeError, match=r"unknown field `reasn` \(did you mean 'reason'\?\)"):
        compose(Cancel, ("reasn=late",))


def test_all_missing_fields_are_named_at_once() -> None:
    lacks = "PlaceOrder: lacks lines[0].quantity, lines[1].sku, lines[1].unit_price.amount_minor, address.city"
    given = ("email=ann@example.com", "lines[0].sku=a", "lines[0].unit_price.amount_minor=5", "lines[1].quantity=1")
    with pytest.raises(ComposeError, match=re.escape(lacks)):
        compose(PlaceOrder, (*given, *(word for word in ADDRESS if "city" not in word)))
    with pytest.raises(ComposeError, match=r"lacks email, lines\[0\]\.sku, .*address\.postal_code"):
        compose(PlaceOrder, ())


def test_missing_fields_are_named_beside_another_mistake() -> None:
    with pytest.raises(ComposeError, match=r"lacks .*address\.street.*; Expected `array`, got `str` - at `\$\.lines`"):
        compose(PlaceOrder, ("lines=none",))


@pytest.mark.parametrize(
    ("body", "mended"),
    [
        ("{}", r"Cancel: lacks reason"),
        ('{"reason": 1}', r"Expected `str`, got `int` - at `\$\.reason`"),
        ('{"reason": "a", "reasn": "b"}', r"unknown field `reasn` - at `\$` \(did you mean 'reason'\?\)"),
        ('{"reason": "a", "reason": "b"}', r"the key 'reason' stands twice"),
        ('{"reason":', r"not JSON that can be read"),
        ("[]", r"Expected `object`"),
    ],
)
def test_a_whole_body_is_checked_like_its_fields(body: str, mended: str) -> None:
    with pytest.raises(ComposeError, match=mended):
        check_body(Cancel, body.encode(), "o-1")


def test_a_whole_body_that_fits_is_taken() -> None:
    check_body(Cancel, b'{"reason": "late"}', "o-1")


EVERY_COMMAND = [
    pytest.param(f"{context.name}.{command.__name__}", command, id=f"{context.name}.{command.__name__}")
    for context in catalog.contexts(Settings()).values()
    for command in context.accepts
]


@pytest.mark.parametrize(("name", "command"), EVERY_COMMAND)
def test_help_of_a_command_has_its_fields_and_an_example_that_it_takes(name: str, command: type[Struct]) -> None:
    said = chorus("send", name, "--help")
    assert (said.returncode, said.stderr) == (0, "")
    needed = {True: "required", False: "default"}
    for field in fields_of(command):
        assert re.search(rf"^  {re.escape(field.path)} .*; {needed[field.required]}", said.stdout, re.MULTILINE)
    (example,) = [line.strip() for line in said.stdout.splitlines() if line.startswith("    chorus send ")]
    _, _, full, key, *words = shlex.split(example)
    assert full == name
    check_body(command, compose(command, words[:-1]), key)


def test_help_of_an_unknown_command_is_answered_with_what_was_meant() -> None:
    said = chorus("send", "ordering.PlaceOrdr", "--help")
    assert (said.returncode, said.stdout) == (64, "")
    assert "did you mean 'ordering.PlaceOrder'" in said.stderr


def test_a_command_is_found_by_its_context_and_name() -> None:
    assert find_command("ordering.PlaceOrder", CONTEXTS) == ("ordering", PlaceOrder)


@pytest.mark.parametrize("name", ["ordering.PlaceOrdr", "PlaceOrder", "order.PlaceOrder"])
def test_a_mistyped_command_is_answered_with_what_was_meant(name: str) -> None:
    with pytest.raises(ComposeError, match=r"did you mean 'ordering\.PlaceOrder'"):
        find_command(name, CONTEXTS)


def test_an_unheard_of_command_is_answered_with_those_there_are() -> None:
    with pytest.raises(ComposeError, match=r"there are ordering\.PlaceOrder, ordering\.Replenish"):
        find_command("zzz", CONTEXTS)
