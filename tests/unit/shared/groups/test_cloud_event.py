"""A forwarded event is a CloudEvent in binary mode, and signed."""

from datetime import UTC, datetime

from shared.groups.forwarding.cloud_event import headers_of
from shared.wire.signature import check_signature
from tests.unit.shared.groups.endpoints import BODY, SECRET, event


def test_an_event_is_a_cloud_event_in_binary_mode_that_is_signed() -> None:
    at = datetime(2026, 11, 28, 9, 0, 1, tzinfo=UTC)
    headers = dict(headers_of(event("o-1", 3), SECRET, at))
    check_signature([SECRET], headers.pop("signature"), BODY, at.timestamp())
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "here/thing-o-1@3",
        "ce-source": "/here",
        "ce-type": "here.ThingDone",
        "ce-subject": "o-1",
        "ce-time": "2026-11-28T09:00:00.000000Z",
        "ce-sequence": "7",
        "ce-correlationid": "o-1",
        "ce-schemaversion": "2",
        "content-type": "application/json",
    }


def test_a_header_of_a_stranger_can_break_no_request() -> None:
    evil = event("o-1", 1)._replace(event_id='here/thing-o-1.\r\nx: "ü"@1')
    assert headers_of(evil, SECRET, datetime.now(UTC))["ce-id"] == "here/thing-o-1.%0D%0Ax:%20%22%C3%BC%22@1"
