"""The bounds of a stream: message size, messages kept per subject, expected last sequence."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from shared.ports.broker import BrokerRefusedError
from shared.wire.streams import SUBJECT_BYTES_AT_MOST

EXPECTED_LAST: Final = "Nats-Expected-Last-Sequence"


class _Placed(Protocol):
    """A stored message."""

    @property
    def sequence(self) -> int: ...

    @property
    def subject(self) -> str: ...


def check_expected(headers: Mapping[str, str], last_sequence: int) -> None:
    """Raise BrokerRefusedError when the message names another last sequence of the stream."""
    expected = headers.get(EXPECTED_LAST)
    if expected is not None and int(expected) != last_sequence:
        raise BrokerRefusedError(10071, f"wrong last sequence: {last_sequence}")


def check_subject(subject: str) -> None:
    """Raise BrokerRefusedError when the subject does not fit into a protocol line."""
    if len(subject) > SUBJECT_BYTES_AT_MOST:
        raise BrokerRefusedError(10054, f"the subject is longer than {SUBJECT_BYTES_AT_MOST} bytes")


def beyond_history(config: Mapping[str, Any], messages: Iterable[_Placed], subject: str) -> list[int]:
    """The sequences of a subject that its stream does not keep any more; messages are in order."""
    at_most = config.get("max_msgs_per_subject", -1)
    if at_most < 1:
        return []
    return [message.sequence for message in messages if message.subject == subject][:-at_most]


def header_bytes(headers: Mapping[str, str]) -> int:
    """The bytes of a header block on the wire: the version line, one line per header and an empty line."""
    lines = sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return lines + 12 if headers else 0
