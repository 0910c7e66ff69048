"""The parts of a transaction that deal with parked messages, published rows and refused rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from shared.ports.broker import Stored
from shared.ports.rows import NumberedRow, ParkedRow, ParkedVerdict, RefusedRow, SkippedRow, StrangerRow


class ParkedMessages(Protocol):
    """Parked messages, and the operator's verdicts on them."""

    def counts(self) -> dict[str, int]:
        """The number of parked messages by key."""
        ...

    def with_verdict(self, partitions: Iterable[int], *, limit: int) -> list[ParkedVerdict]:
        """All parked messages, oldest first, of the keys on which an operator has ruled."""
        ...

    def still_parked(self, numbers: Sequence[int]) -> set[int]:
        """Those of these messages that no other process has decided since."""
        ...

    def unpark(self, numbers: Sequence[int], *, at: str) -> None:
        """Delete messages that were decided or skipped, and retry the later ones of their keys next.

        A skipped message is recorded with the operator, the reason and the time.
        """
        ...

    def park_again(self, failures: Mapping[int, tuple[str, str]]) -> None:
        """Record (key, reason) of messages that failed again, by id, and delete the verdicts on their keys."""
        ...

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Record the verdict `retry` or `skip`; returns how many of the messages were still parked."""
        ...

    def park(self, rows: Sequence[ParkedRow]) -> None:
        """Add parked messages."""
        ...

    def message_ids(self) -> list[str]:
        """The ids of all parked messages, in the order in which they were parked."""
        ...

    def by_message_ids(self, message_ids: Sequence[str]) -> list[ParkedVerdict]:
        """The parked messages with these ids, in the order in which they were parked."""
        ...

    def retry_orphans(self) -> None:
        """Retry the keys whose first message only waited behind another one, which is not parked any more."""
        ...

    def record_skipped(self, rows: Sequence[SkippedRow]) -> None:
        """Add skipped messages to a rebuilt database."""
        ...


class PublishedRows(Protocol):
    """Where journal rows are in the streams. `subjects` is the prefix of the subjects of one stream."""

    def last(self, subjects: str) -> tuple[str, int] | None:
        """(event id, stream sequence) of the row with the highest sequence."""
        ...

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        """Those of these messages of EVENTS that neither the journal nor the table of strangers explains.

        An operator's declaration explains every message under its id. A stranger that was recorded by its form explains
        only the message at its sequence: a lost event of ours may have the same id.
        """
        ...

    def correct(self, subjects: str, there: Mapping[str, int], *, timers: bool) -> int:
        """Set each row's sequence to what the stream really holds; returns how many rows are then unpublished.

        A row that is refused because a stranger's message has its id does not get the sequence of that message.
        """
        ...


class RefusedRows(Protocol):
    """Journal rows that the broker refuses for good, and messages of strangers under ids of this context."""

    def record(self, rows: Sequence[RefusedRow]) -> None:
        """Record refused rows, unless they are published by now.

        A row that is recorded already keeps its `since`. Its verdict `retry` has been carried out and is deleted; a
        verdict `void` stays until the worker gives the row its next edition.
        """
        ...

    def verdicts(self, partitions: Iterable[int]) -> list[tuple[int, str]]:
        """(journal number, verdict) of the refused rows of these partitions that have one."""
        ...

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Record `retry` (publish again) or `void` (publish the next edition); returns how many rows were refused."""
        ...

    def give_next_editions(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """Replace the rows with the verdict `void` by their `next_edition`, and return the new rows."""
        ...

    def record_strangers(self, strangers: Iterable[StrangerRow]) -> None:
        """Record messages that this context did not publish; a later record replaces an earlier one of the same id."""
        ...

    def delete_found_strangers(self) -> None:
        """Delete the strangers that no operator declared, because their stream was replaced."""
        ...

    def declared_strangers(self) -> list[StrangerRow]:
        """The strangers that an operator declared."""
        ...

    def with_id_conflicts(self, partitions: Iterable[int]) -> list[RefusedRow]:
        """The unpublished rows of these partitions whose id another message in their stream has."""
        ...
