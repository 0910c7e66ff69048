"""The port for a replay: reads everything that a context has decided, in order, page by page."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from shared.ports.rows import InputRow, JournalRow, NumberedRow


class Reached(NamedTuple):
    """How far a context has come: its last journal row, and its position in each partition of EVENTS."""

    n: int
    positions: dict[int, int]


class History(Protocol):
    """The journal and the recorded inputs of one context. It reads beside running workers and holds no lock."""

    def reached(self) -> Reached:
        """How far the context has come now: positions first, so that no position is ahead of the journal."""
        ...

    def events(self, *, after: int, up_to: int, limit: int) -> list[NumberedRow]:
        """The next events, in journal order, with `after < n <= up_to`."""
        ...

    def inputs(self, *, after: int, limit: int) -> list[tuple[int, InputRow]]:
        """The next inputs with their numbers, in the order in which they were decided; none where none were kept."""
        ...

    def input(self, kind: str, input_id: str) -> list[InputRow]:
        """The rows of one input; several for a request that became several commands."""
        ...

    def commands(self, keys: Iterable[str] | None = None) -> list[InputRow]:
        """The commands of clients, all or under these keys, in the order in which they were decided."""
        ...

    def events_of_saga(self, correlation_id: str) -> list[NumberedRow]:
        """The events of one saga under every key. It reads the whole journal."""
        ...

    def event(self, event_id: str) -> JournalRow | None:
        """One event by its id, in any edition of it that the journal has."""
        ...

    def events_before(self, aggregate: str, n: int) -> Iterator[JournalRow]:
        """The events of an aggregate before row `n`, in the order of their versions."""
        ...

    def in_inbox(self, message_ids: Sequence[str]) -> set[str]:
        """Those of these messages that the context has decided."""
        ...

    def was_parked(self, aggregates: Sequence[str]) -> set[str]:
        """Those of these aggregates, of parking events, that the journal has."""
        ...
