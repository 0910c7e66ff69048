"""An event that a context hears is believed only in the form that its publisher gives; the rest decides nothing."""

import pytest

from shared.engine.route.event_form import _is_plain, check_event
from shared.engine.route.incoming import Decide, Handling, Poison, Stranger
from shared.engine.route.routing import Routing
from shared.ports.broker import Delivery
from shared.wire.messages import MSG_ID, parse_subject, partition_of
from shared.wire.streams import EVENTS, TIMERS
from tests.integration.till import Close, Ring, till
from tests.saying import said

PARTITIONS = 2
KEY = "t-1"
HERE = partition_of(KEY, PARTITIONS)
SUBJECT = f"evt.scanner.GoodsScanned.{HERE}.{KEY}"
BODY = b'{"till_id": "t-1", "amount": 3}'
FORM = {**said(KEY), MSG_ID: "scanner/scan-t-1@1"}
DUE = f"due.till.ClosingTime.{HERE}.{KEY}"
CLOSING = b'{"till_id": "t-1", "closes_at": "2026-01-01T00:00:00Z"}'
FIRED = {"Timer-Id": "till/till-t-1@1/ClosingTime", "Nats-Scheduler": "timer.till.ClosingTime.t-1"}


def handled(subject: str, headers: dict[str, str], body: bytes, stream: str = EVENTS) -> Handling:
    delivery = Delivery(
        sequence=7, consumer_sequence=7, pending=0, at_ns=10**18, subject=subject, headers=headers, body=body, reply=""
    )
    return Routing(till(), partitions=PARTITIONS).delivered(stream, HERE, delivery).handling


def test_event_in_its_form_is_believed() -> None:
    assert handled(SUBJECT, FORM, BODY) == Decide([Ring(till_id=KEY, amount=3)])


def test_event_of_an_aggregate_with_parts_and_in_a_later_edition_is_believed() -> None:
    assert isinstance(handled(SUBJECT, {**FORM, MSG_ID: "scanner/scan-t-1.p-1@3.2"}, BODY), Decide)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "it has no header Correlation-Id, Causation-Id, Causation-Depth, Occurred-At, Schema-Version"),
        ({MSG_ID: "scanner/scan-t-1@1"}, "it has no header Correlation-Id"),
        ({**said(KEY)}, "Nats-Msg-Id: '' is not a message id"),
        ({**FORM, MSG_ID: "scanner/sc\u00e4n-t-1@1"}, "Nats-Msg-Id: "),
        ({**FORM, MSG_ID: "scanner/sc n-t-1@1"}, "Nats-Msg-Id: "),
        ({**FORM, MSG_ID: f"scanner/{'s' * 300}-t-1@1"}, "Nats-Msg-Id: "),
        ({**FORM, MSG_ID: "scanner/scan-t-1@0"}, "its id is not one that scanner gives"),
        ({**FORM, MSG_ID: "scanner/scan-t-1@\u0661"}, "Nats-Msg-Id: "),
        ({**FORM, "Causation-Hash": "zz"}, "Causation-Hash: "),
        ({**FORM, "Causation-Depth": "99"}, "Causation-Depth: "),
        ({**FORM, "Schema-Version": "one"}, "Schema-Version: "),
        ({**FORM, MSG_ID: "m-1"}, "its id is not one that scanner gives"),
        ({**FORM, MSG_ID: "till/scan-t-1@1"}, "its id is not one that scanner gives"),
        ({**FORM, MSG_ID: "scanner/scan-t-2@1"}, "its id names 'scan-t-2', its subject 't-1'"),
        ({**FORM, MSG_ID: "scanner/scan-t-10@1"}, "its id names 'scan-t-10', its subject 't-1'"),
        ({**FORM, "Occurred-At": "noon"}, "Occurred-At: "),
        ({**FORM, "Correlation-Id": "a b"}, "Correlation-Id: "),
        ({**FORM, "Causation-Depth": "many"}, "Causation-Depth: "),
    ],
)
def test_event_with_other_headers_is_a_stranger_s(headers: dict[str, str], reason: str) -> None:
    handling = handled(SUBJECT, headers, BODY)
    assert isinstance(handling, Stranger)
    assert handling.reason.startswith(reason)


def test_event_in_another_partition_than_that_of_its_key_is_a_stranger_s() -> None:
    handling = handled(f"evt.scanner.GoodsScanned.{1 - HERE}.{KEY}", FORM, BODY)
    assert handling == Stranger(f"its key t-1 does not belong to partition {1 - HERE}")


def test_event_whose_body_names_another_key_is_a_stranger_s() -> None:
    handling = handled(SUBJECT, FORM, BODY.replace(b"t-1", b"t-2"))
    assert handling == Stranger("its body names 't-2', its subject 't-1'")


def test_event_in_its_form_with_a_body_that_cannot_be_read_is_poison() -> None:
    """It can be from its context, so its key waits for an operator."""
    assert isinstance(handled(SUBJECT, FORM, b'{"till_id": "t-1"}'), Poison)


def test_event_in_too_long_a_chain_of_causes_is_poison() -> None:
    assert isinstance(handled(SUBJECT, {**FORM, "Causation-Depth": "32"}, BODY), Poison)


def test_timer_that_has_fired_is_believed() -> None:
    assert handled(DUE, FIRED, CLOSING, TIMERS) == Decide([Close(till_id=KEY)])


@pytest.mark.parametrize("scheduler", [None, "timer.scanner.ClosingTime.t-1", "timer.till.ClosingTime.t-2"])
def test_timer_that_another_one_has_made_come_due_is_a_stranger_s(scheduler: str | None) -> None:
    headers = {"Timer-Id": FIRED["Timer-Id"], **({"Nats-Scheduler": scheduler} if scheduler else {})}
    assert handled(DUE, headers, CLOSING, TIMERS) == Stranger("till has set no timer for it")


def test_quick_check_believes_nothing_that_the_full_check_refuses() -> None:
    """It may be unsure of a message that is believed, and only costs time then."""
    names = [*FORM, "Causation-Hash"]
    values = [
        "",
        "0",
        "1",
        "32",
        "33",
        "t-1",
        "a b",
        "scanner/scan-t-1@1",
        "scanner/scan-t-1@1.2",
        "f" * 32,
        said(KEY)["Occurred-At"],
    ]
    subject = parse_subject(SUBJECT)
    for name in names:
        for value in values:
            headers = {**FORM, name: value}
            if _is_plain(subject, headers, PARTITIONS):
                assert check_event(subject, headers, PARTITIONS) == "scan-t-1"
    assert _is_plain(subject, FORM, PARTITIONS)
