"""The aggregates that one batch reads and changes, in memory until the commit."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from shared.context import Aggregate, Asked, State
from shared.ports.store import Transaction

_encoder = msgspec.json.Encoder()


class Loaded:
    """An aggregate as this batch has it so far."""

    __slots__ = ("changed", "state", "version")

    def __init__(self, version: int, state: State) -> None:
        self.version = version
        self.state = state
        self.changed = False


class LoadedAggregates:
    """Loads most aggregates in one query (`prefetch`), and the rest one by one when a decision reads them."""

    def __init__(self, transaction: Transaction, decoders: Mapping[str, msgspec.json.Decoder[State]]) -> None:
        self._transaction = transaction
        self._decoders = decoders
        self._by_id: dict[str, Loaded] = {}

    def prefetch(self, kinds: Mapping[str, Aggregate]) -> None:
        """Load the aggregates with these ids. One that has no snapshot starts at version 0."""
        missing = {identity: aggregate for identity, aggregate in kinds.items() if identity not in self._by_id}
        for identity, aggregate in missing.items():
            self._by_id[identity] = Loaded(0, aggregate.state())
        for identity, version, state in self._transaction.snapshots(missing) if missing else ():
            self._by_id[identity] = Loaded(version, self._decoders[missing[identity].name].decode(state))

    def get(self, aggregate: Aggregate, identity: str) -> Loaded:
        """The aggregate with this id."""
        loaded = self._by_id.get(identity)
        if loaded is None:
            self.prefetch({identity: aggregate})
            loaded = self._by_id[identity]
        return loaded

    def state(self, aggregate: Aggregate, identity: str) -> State:
        """The state of the aggregate with this id."""
        return self.get(aggregate, identity).state

    def changed(self) -> list[tuple[str, int, str]]:
        """(id, version, state as JSON) of every aggregate that this batch changed."""
        return [
            (identity, loaded.version, _encoder.encode(loaded.state).decode())
            for identity, loaded in self._by_id.items()
            if loaded.changed
        ]


class AlsoRead(Mapping[Asked, State]):
    """The other aggregates that a decision reads, by key, or by (key, part); `state_of` finds the one with an id."""

    def __init__(self, state_of: Callable[[Aggregate, str], State], kind: Aggregate) -> None:
        self._state_of = state_of
        self._kind = kind

    def __getitem__(self, asked: Asked) -> State:
        return self._state_of(self._kind, self._kind.id_from(asked))

    def __iter__(self) -> Iterator[Asked]:
        raise TypeError("ask for one key: the engine never loads all aggregates of a kind")

    def __len__(self) -> int:
        raise TypeError("ask for one key: the engine never loads all aggregates of a kind")
