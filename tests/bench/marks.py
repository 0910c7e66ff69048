"""Measures a run by the stream's own clock: how many sagas ended in a second, and how long each took."""

from collections.abc import Mapping, Sequence
from math import ceil

from msgspec import Struct

from shared.adapters.jetstream import JetStream

Marks = Mapping[str, int]
"""When something was stored or sent, by key, in nanoseconds since 1970."""

STEADY = (0.1, 0.9)
"""Between these parts of a run everything is busy: the first sagas are not alone and the last ones not either."""


class Latency(Struct, frozen=True, kw_only=True):
    """How long sagas took from the sending of the command to the storing of the last event, in milliseconds."""

    p50_ms: float
    p99_ms: float
    most_ms: float
    late_ms: float
    """How far the sender fell behind its plan; that time does not count in the others."""


class Throughput(Struct, frozen=True, kw_only=True):
    """Sagas a second: from the first event of the run to the last, and while everything was busy."""

    sagas: int
    seconds: float
    per_s: float
    steady_per_s: float


async def marks(broker: JetStream, subject: str) -> Marks:
    """When each event under a subject filter was stored."""
    return {
        stored.subject.rsplit(".", 1)[1]: round(stored.at.timestamp() * 1e6) * 1000
        async for stored in broker.read("EVENTS", subject)
    }


def throughput(began: Marks, ended: Marks) -> Throughput:
    """From the first that began to the last that ended."""
    times = sorted(ended.values())
    seconds = (times[-1] - min(began.values())) / 1e9
    first, last = (min(int(len(times) * part), len(times) - 1) for part in STEADY)
    steady_s = (times[last] - times[first]) / 1e9
    return Throughput(
        sagas=len(times),
        seconds=seconds,
        per_s=len(times) / seconds,
        steady_per_s=(last - first) / steady_s if steady_s else 0.0,
    )


def latency(sent: Marks, ended: Marks, late_ms: float) -> Latency:
    """Of all that were sent; each must have ended."""
    took_ms = sorted((ended[key] - at) / 1e6 for key, at in sent.items())
    return Latency(
        p50_ms=percentile(took_ms, 0.50), p99_ms=percentile(took_ms, 0.99), most_ms=took_ms[-1], late_ms=late_ms
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that is not below this part of all."""
    return ordered[max(ceil(len(ordered) * part) - 1, 0)]


def tenths(ended: Marks) -> tuple[float, ...]:
    """Sagas a second in each tenth of a run: level when nothing grows with what is stored."""
    times = sorted(ended.values())
    size = len(times) // 10
    return tuple(
        size * 1e9 / (times[(part + 1) * size - 1] - times[part * size - 1 if part else 0]) for part in range(10)
    )
