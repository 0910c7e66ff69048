"""The aggregates that one batch touches, as the batch has them."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from shared.context import Aggregate, Asked, State
from shared.ports.store import Transaction

_encoder = msgspec.json.Encoder()


class Loaded:
    """An aggregate as this batch has it."""

    __slots__ = ("changed", "state", "version")

    def __init__(self, version: int, state: State) -> None:
        self.version = version
        self.state = state
        self.changed = False


class LoadedAggregates:
    """The aggregates a batch touches: prefetched in one query, the rest when asked for."""

    def __init__(self, transaction: Transaction, aggregates: Sequence[Aggregate]) -> None:
        self._transaction = transaction
        self._decoders = {aggregate.name: msgspec.json.Decoder(aggregate.state) for aggregate in aggregates}
        self._held: dict[str, Loaded] = {}

    def prefetch(self, named: Mapping[str, Aggregate]) -> None:
        """Load these ids in one query; those that do not exist begin as unborn."""
        missing = {name: aggregate for name, aggregate in named.items() if name not in self._held}
        for name, aggregate in missing.items():
            self._held[name] = Loaded(0, aggregate.state())
        for name, version, state in self._transaction.snapshots(missing):
            self._held[name] = Loaded(version, self._decoders[missing[name].name].decode(state))

    def held(self, aggregate: Aggregate, identity: str) -> Loaded:
        """The aggregate with this id, loaded now if it was not named beforehand."""
        held = self._held.get(identity)
        if held is None:
            self.prefetch({identity: aggregate})
            held = self._held[identity]
        return held

    def changed(self) -> list[tuple[str, int, str]]:
        """(id, version, state) of all that this batch changed."""
        return [
            (name, held.version, _encoder.encode(held.state).decode())
            for name, held in self._held.items()
            if held.changed
        ]


class AlsoRead(Mapping[Asked, State]):
    """The other aggregates that a decision may read, by key, or by (key, part)."""

    def __init__(self, states: LoadedAggregates, aggregate: Aggregate) -> None:
        self._states = states
        self._aggregate = aggregate

    def __getitem__(self, asked: Asked) -> State:
        return self._states.held(self._aggregate, self._aggregate.id_from(asked)).state

    def __iter__(self) -> Iterator[Asked]:
        raise TypeError("ask for a key: all of them are never loaded")

    def __len__(self) -> int:
        raise TypeError("ask for a key: all of them are never loaded")
