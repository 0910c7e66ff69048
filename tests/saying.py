"""Events as a context says them, for tests that say one in its place: with the id and the headers of every event."""

from collections.abc import Mapping

from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_ID,
    CORRELATION_ID,
    OCCURRED_AT,
    SCHEMA_VERSION,
)

AT = "2026-01-01T00:00:00Z"


def said(key: str, cause: str = "a-cause") -> Mapping[str, str]:
    """The headers of an event of this saga, besides its id."""
    return {
        CORRELATION_ID: key,
        CAUSATION_ID: cause,
        CAUSATION_DEPTH: "1",
        OCCURRED_AT: AT,
        SCHEMA_VERSION: "1",
    }
