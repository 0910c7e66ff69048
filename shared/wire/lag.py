"""How far a context is behind in one partition: the answer to `nats req api.CONTEXT.lag '{"partition": 0}'`.

The process that owns the partition answers, and no other. A group of a read side has a subject of its own,
`nats req api.READSIDE.lag-GROUP '{}'`, so the server says at once when no process runs the group.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""The upper bounds of the buckets in which timings are counted; one more bucket counts what took longer."""


class AskLag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request."""

    partition: Annotated[int, Meta(ge=0, le=1023)]


class Timing(Struct, frozen=True, kw_only=True):
    """A histogram of the durations of a step since the process started: one count per bucket of BUCKETS_S."""

    counts: tuple[int, ...]
    sum_s: float

    @property
    def count(self) -> int:
        """The number of measurements."""
        return sum(self.counts)

    def since(self, before: "Timing") -> "Timing":
        """The measurements after an earlier answer of the same process."""
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return Timing(counts=counts, sum_s=self.sum_s - before.sum_s)

    def quantile_s(self, part: float) -> float | None:
        """An estimate of a quantile in seconds, between the bounds of its bucket; None without a measurement."""
        wanted, below = part * self.count, 0
        for number, count in enumerate(self.counts):
            if count and below + count >= wanted:
                if number == len(BUCKETS_S):
                    return BUCKETS_S[-1]
                low = BUCKETS_S[number - 1] if number else 0.0
                return low + (BUCKETS_S[number] - low) * (wanted - below) / count
            below += count
        return None


class StreamLag(Struct, frozen=True, kw_only=True):
    """How far one stream is decided. `behind` counts the messages that are not, and is null when the broker is away.

    `oldest_at` is when the server stored the oldest of them that has arrived here, or empty.
    """

    stream: str
    sequence: int
    behind: int | None
    oldest_at: str


class PartitionLag(Struct, frozen=True, kw_only=True):
    """The answer. `taken` counts the messages of this partition since the process began to own it.

    `unpublished`, `calls`, `parked` and the timings are those of the whole process.
    """

    context: str
    partition: int
    process: str
    at: str
    streams: tuple[StreamLag, ...]
    taken: int
    unpublished: int
    calls: int
    parked: int
    batches: int
    commit: Timing
    publish: Timing


class AskGroupLag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request to a group of a read side."""


class Forwarding(Struct, frozen=True, kw_only=True):
    """The events of a group on their way to its endpoint: those in memory, and those that wait for an operator.

    `failed` counts attempts since the process started. An endpoint that fails `is_left_alone` for a while.
    """

    waiting: int
    parked: int
    failed: int
    is_left_alone: bool


class GroupLag(Struct, frozen=True, kw_only=True):
    """The answer of a group. Its tables have everything that it hears up to `sequence` of EVENTS.

    `behind` counts the events that it hears and has not folded, and is null when the broker is away. The server stored
    the oldest of them that has arrived here at `oldest_at`, and the last one that is folded at `last_at`; both may be
    empty. `folded` and `set_aside` count since the process started.
    """

    context: str
    group: str
    process: str
    at: str
    sequence: int
    behind: int | None
    oldest_at: str
    last_at: str
    folded: int
    set_aside: int
    forwarding: Forwarding | None = None


def group_lag_of(group: str) -> str:
    """The name of the question to a group."""
    return f"lag-{group}"
