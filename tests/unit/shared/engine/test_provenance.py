"""Which messages in EVENTS can be from a context, by their form alone."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared.engine.decide.outgoing import OutgoingRows
from shared.engine.recover.provenance import Provenance
from shared.engine.route.incoming import IGNORE, Incoming
from shared.engine.route.routing import Routing
from shared.ports.broker import Delivery, Stored
from shared.ports.rows import JournalRow, ParkedRow, ParkedVerdict
from shared.wire.messages import content_hash, partition_of
from shared.wire.streams import COMMANDS
from tests.integration.till import Rung, till

PARTITIONS = 2
KEY = "t-1"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def cause() -> Incoming:
    delivery = Delivery(
        sequence=7, consumer_sequence=7, pending=0, at_ns=0, subject="", headers={}, body=b"{}", reply=""
    )
    return Incoming(
        stream=COMMANDS,
        partition=partition_of(KEY, PARTITIONS),
        key=KEY,
        message_id="m-1",
        type="Ring",
        content=content_hash(b"{}"),
        correlation_id=KEY,
        depth=0,
        source=delivery,
        handling=IGNORE,
    )


def rows() -> dict[str, JournalRow]:
    """One of every kind that the engine makes."""
    make = OutgoingRows("till", schema_version=1, partitions=PARTITIONS, now=NOON)
    (aggregate,) = till().aggregates
    parked = ParkedRow(KEY, 0, COMMANDS, 7, 1, "m-1", "cmd.till.Ring.0.t-1", {}, b"\xff", "RuntimeError")
    return {
        "Rung": make.event(cause(), Rung(till_id=KEY, amount=1, total=1), f"{aggregate.name}-{KEY}", KEY, 3),
        "CommandRejected": make.rejection(cause(), "closed", ()),
        "MessageParked": make.parked(cause(), parked),
        "parked again": make.parked(cause(), parked, version=2),
        "MessageUnparked": make.unparked(cause(), ParkedVerdict(1, parked, False, "ann", "mended")),
    }


def stored(row: JournalRow, **changes: Any) -> Stored:
    kind, context, name, key = row.subject.split(".")
    subject = f"{kind}.{context}.{name}.{partition_of(key, PARTITIONS)}.{key}"
    return Stored(1, NOON, subject, row.headers, row.body)._replace(**changes)


PROVENANCE = Provenance(Routing(till(), partitions=PARTITIONS))
RUNG = stored(rows()["Rung"])


@pytest.mark.parametrize("row", rows().values(), ids=rows().keys())
def test_whatever_the_engine_publishes_can_be_the_contexts(row: JournalRow) -> None:
    assert PROVENANCE.why_not(stored(row)) is None


def test_an_event_can_be_of_a_later_edition() -> None:
    headers = {**RUNG.headers, "Nats-Msg-Id": "till/till-t-1@3.2"}
    assert PROVENANCE.why_not(RUNG._replace(headers=headers)) is None


def without(name: str) -> Stored:
    return RUNG._replace(headers={key: value for key, value in RUNG.headers.items() if key != name})


def having(name: str, value: str) -> Stored:
    return RUNG._replace(headers={**RUNG.headers, name: value})


def parking(old: bytes, new: bytes) -> Stored:
    message = stored(rows()["MessageParked"])
    assert old in message.body
    return message._replace(body=message.body.replace(old, new))


STRANGERS: dict[str, tuple[Stored, str]] = {
    "no header": (RUNG._replace(headers={"Nats-Msg-Id": "till/till-t-1@3"}), "it has no header Correlation-Id, "),
    "no correlation": (without("Correlation-Id"), "it has no header Correlation-Id"),
    "no cause": (without("Causation-Id"), "it has no header Causation-Id"),
    "no depth": (without("Causation-Depth"), "it has no header Causation-Depth"),
    "no time": (without("Occurred-At"), "it has no header Occurred-At"),
    "no schema": (without("Schema-Version"), "it has no header Schema-Version"),
    "malformed depth": (having("Causation-Depth", "many"), "Causation-Depth: "),
    "malformed time": (having("Occurred-At", "noon"), "Occurred-At: "),
    "malformed schema": (having("Schema-Version", "?"), "Schema-Version: "),
    "malformed hash": (having("Causation-Hash", "zz"), "Causation-Hash: "),
    "malformed correlation": (having("Correlation-Id", "a b"), "Correlation-Id: "),
    "no id": (without("Nats-Msg-Id"), "Nats-Msg-Id: "),
    "id of another context": (having("Nats-Msg-Id", "scanner/till-t-1@3"), "its id is not one that till gives"),
    "id without a version": (having("Nats-Msg-Id", "till/till-t-1"), "its id is not one that till gives"),
    "id of version 0": (having("Nats-Msg-Id", "till/till-t-1@0"), "its id is not one that till gives"),
    "id of another key": (having("Nats-Msg-Id", "till/till-t-2@3"), "its id names till-t-2, its content till-t-1"),
    "id of another aggregate": (having("Nats-Msg-Id", "till/box-t-1@3"), "its id names box-t-1, its content till-t-1"),
    "unknown type": (RUNG._replace(subject=RUNG.subject.replace("Rung", "Whatever")), "till publishes no Whatever"),
    "no JSON": (RUNG._replace(body=b"\xff"), "not JSON that can be read"),
    "a field missing": (RUNG._replace(body=b'{"till_id":"t-1"}'), "Object missing required field `amount`"),
    "body of another key": (
        RUNG._replace(body=RUNG.body.replace(b"t-1", b"t-2")),
        "its body names 't-2', its subject 't-1'",
    ),
    "another partition": (RUNG._replace(subject="evt.till.Rung.7.t-1"), "its key t-1 does not belong to partition 7"),
    "a key that is none": (RUNG._replace(subject="evt.till.Rung.0.a b"), "'a b' is not a key"),
    "subject of another context": (
        RUNG._replace(subject=RUNG.subject.replace("till", "shop")),
        "its subject is of shop",
    ),
    "somebody's refusal": (
        stored(rows()["CommandRejected"], headers={**RUNG.headers, "Nats-Msg-Id": "till/till-t-1@1"}),
        "its id names till-t-1, its content rejection-",
    ),
    "somebody's parking": (
        stored(rows()["MessageParked"], headers={**RUNG.headers, "Nats-Msg-Id": f"till/parked-{'0' * 32}@1"}),
        "its id names parked-0",
    ),
    "a parking with a hash that is none": (
        parking(content_hash(b"{}").hex().encode(), b"zz"),
        "its content_hash is not a content hash",
    ),
    "a parking past what a database holds": (
        parking(b'"sequence":7', b'"sequence":9223372036854775808'),
        "Expected `int` <= 9223372036854775807",
    ),
}


@pytest.mark.parametrize(("message", "reason"), STRANGERS.values(), ids=STRANGERS.keys())
def test_what_has_another_form_cannot_be_and_why_is_reported(message: Stored, reason: str) -> None:
    told = PROVENANCE.why_not(message)
    assert told is not None
    assert told.startswith(reason)


def test_nothing_that_can_stand_in_a_body_makes_it_raise() -> None:
    for body in (b"", b"[" * 100_000, b"null", b'{"amount":1e400}', b"\x00" * 70_000, msgspec.json.encode(["x"])):
        assert PROVENANCE.why_not(RUNG._replace(body=body)) is not None
