"""Shipping answers each attempt of an address once."""

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, OrderId
from contexts.shipping.address_check import AddressCheck, decide, evolve
from contexts.shipping.commands import ValidateAddress
from contexts.shipping.events import AddressRejected, AddressValidated

ORDER = OrderId("b-1")
BERN = Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000")
VALIDATE = ValidateAddress(order_id=ORDER, attempt=2, address=BERN)
VALIDATED = AddressValidated(order_id=ORDER, attempt=2, address=BERN)
REJECTED = AddressRejected(order_id=ORDER, attempt=2, reason="unknown_street")


def test_address_is_validated() -> None:
    assert decide(VALIDATE, AddressCheck()) == (VALIDATED,)


@pytest.mark.parametrize("street", ["nowhere 1", "Road to Nowhere", "NOWHERE"])
def test_street_that_is_nowhere_is_rejected(street: str) -> None:
    assert decide(replace(VALIDATE, address=replace(BERN, street=street)), AddressCheck()) == (REJECTED,)


@pytest.mark.parametrize("answer", [VALIDATED, REJECTED], ids=lambda answer: type(answer).__name__)
def test_asking_twice_gives_the_answer_once(answer: AddressValidated | AddressRejected) -> None:
    assert decide(VALIDATE, evolve(AddressCheck(), answer)) == ()
