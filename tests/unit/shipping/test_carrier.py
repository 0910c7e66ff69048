"""The carrier's promises, shown on the simulated one: a real adapter passes the same."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, OrderId
from contexts.shipping.commands import RecordDispatched, RecordDispatchRefused
from contexts.shipping.effects import Carrier, HandedOver, SimulatedCarrier, effects, hand_over
from contexts.shipping.events import DispatchRequested

ORDER = OrderId("o-42")
ADDRESS = Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB")
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
NOWHERE = replace(ADDRESS, postal_code="0000 XX")
REQUESTED = DispatchRequested(order_id=ORDER, address=ADDRESS)


class FirstCall:
    """A call to an outside that is no NATS service."""

    idempotency_key = "shipping/shipment-o-42@4"
    attempt = 1
    now = NINE

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        raise AssertionError(f"the carrier is not at {subject}: {headers} {body!r}")


@pytest.fixture
def carrier() -> Carrier:
    return SimulatedCarrier()


async def test_one_key_has_one_tracking_number(carrier: Carrier) -> None:
    first = await carrier.hand_over(ORDER, ADDRESS, idempotency_key="k-1")
    assert isinstance(first, HandedOver)
    assert await carrier.hand_over(ORDER, ADDRESS, idempotency_key="k-1") == first
    assert await carrier.hand_over(ORDER, ADDRESS, idempotency_key="k-2") != first


async def test_parcel_that_is_taken_is_recorded(carrier: Carrier) -> None:
    outcome = await hand_over(REQUESTED, FirstCall(), carrier=carrier)
    assert isinstance(outcome, RecordDispatched)
    assert outcome.order_id == ORDER
    assert outcome == await hand_over(REQUESTED, FirstCall(), carrier=carrier)


async def test_parcel_to_where_the_carrier_does_not_go_is_refused(carrier: Carrier) -> None:
    outcome = await hand_over(replace(REQUESTED, address=NOWHERE), FirstCall(), carrier=carrier)
    assert outcome == RecordDispatchRefused(order_id=ORDER, reason="not_served")


async def test_the_only_call_is_asked_by_the_dispatch(carrier: Carrier) -> None:
    (effect,) = effects(carrier, timeout_s=3.0)
    assert effect.asked_by is DispatchRequested
    assert type(await effect.call(REQUESTED, FirstCall())) in effect.outcomes
