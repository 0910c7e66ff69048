"""What the store port asks about rows in trouble: parked messages, refused rows, and what is really in the streams."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from shared.ports.broker import Stored
from shared.ports.rows import NumberedRow, ParkedRow, RefusedRow, SkippedRow, StrangerRow, Waiting


class ParkedMessages(Protocol):
    """The queries on parked messages, within a transaction."""

    def keys(self) -> dict[str, int]:
        """The keys whose messages wait, and how many of each."""
        ...

    def looked_at(self, partitions: Iterable[int], *, limit: int) -> list[Waiting]:
        """Every parked message, in order, of the keys on which somebody has given a verdict."""
        ...

    def still_there(self, numbers: Sequence[int]) -> set[int]:
        """Which of these still wait: another process may have decided them since they were looked at."""
        ...

    def unpark(self, numbers: Sequence[int], *, at: str) -> None:
        """Let go of messages that were decided or skipped, and try those behind them next.

        Those that were skipped leave who said so, why and when.
        """
        ...

    def park_again(self, failures: Mapping[int, tuple[str, str]]) -> None:
        """The message failed again: (key, reason) by id; its key waits for another verdict."""
        ...

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Say of parked messages that they are to be tried again or left out (`retry`, `skip`); how many there were."""
        ...

    def park(self, rows: Sequence[ParkedRow]) -> None:
        """Let messages wait."""
        ...

    def record_skipped(self, rows: Sequence[SkippedRow]) -> None:
        """Record messages that operators left out, for a rebuilt database."""
        ...

    def message_ids(self) -> list[str]:
        """The ids of all parked messages, in the order in which they were parked."""
        ...

    def parked_as(self, message_ids: Sequence[str]) -> list[Waiting]:
        """The parked messages with these ids, in the order in which they were parked."""
        ...

    def retry_what_leads(self) -> None:
        """Try the keys whose first message only waited behind another, which is not parked any more."""
        ...


class PublishedRows(Protocol):
    """The queries on what was published, within a transaction; `subjects` is how the subjects begin."""

    def last(self, subjects: str) -> tuple[str, int] | None:
        """(event id, stream sequence) of what stands last in the stream, among the last rows under such subjects."""
        ...

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """What the journal says under these ids; those that it does not know are not among them."""
        ...

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        """The rows under such subjects that ought to be in their stream, and are not; in the journal's order."""
        ...

    def correct(self, subjects: str, there: Mapping[str, int], *, timers: bool) -> int:
        """Have the journal say where each row is, by event id; how many rows are to be published then.

        A row that is refused because a stranger's message has its id is not where that message is.
        """
        ...

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        """Which of these messages of EVENTS neither the journal nor table `strangers` explains.

        An operator's declaration holds for every message under its id. A stranger that was recorded by its form
        explains only the message that stands where it stood: an event of ours that was lost may have the same id.
        """
        ...


class RefusedRows(Protocol):
    """The queries on refused rows, within a transaction."""

    def record(self, rows: Iterable[RefusedRow]) -> None:
        """Record rows that the broker refuses.

        A row that is recorded already keeps its `since`. Its verdict `retry` has been carried out and is removed; a
        verdict `void` stays until the worker gives the row its next edition.
        """
        ...

    def forget_published(self) -> None:
        """Delete the record of every row that is published now; costs nothing while no row is refused."""
        ...

    def verdicts(self, partitions: Iterable[int]) -> list[tuple[int, str]]:
        """(journal number, verdict) of the refused rows of these partitions that have one."""
        ...

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Let the worker publish these rows again (`retry`), or under a next edition (`void`); how many there were."""
        ...

    def void(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """Give rows that have the verdict `void` the next edition of their ids, and return them as they are now.

        Aggregate and version stay, so no state changes. An effect that the row asks for keeps its idempotency key, and
        a timer that the row arms keeps its id: both name the event without an edition.
        """
        ...

    def declare(self, strangers: Iterable[StrangerRow]) -> None:
        """Record messages that are not this context's; a later record replaces an earlier one of the same id."""
        ...

    def forget_found(self) -> None:
        """Forget the strangers that no operator declared: their stream is another one now."""
        ...

    def declared_void(self) -> list[StrangerRow]:
        """The messages that an operator declared a stranger's."""
        ...

    def taken(self, partitions: Iterable[int]) -> list[RefusedRow]:
        """The unpublished rows of these partitions whose id another message in their stream has."""
        ...
