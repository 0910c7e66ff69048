"""Runs effects: calls the outside until the outcome is known, with one idempotency key for all attempts.

Effects of one key run one after the other; a bounded number of each kind runs at once. An outcome, done or refused,
comes back as a command of the context, and the loop decides it like any other message.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from anyio.abc import TaskGroup

from shared.context import Effect
from shared.engine.callers import Callers
from shared.engine.effect_call import Attempts, EffectCall, described
from shared.engine.monitor.timings import Timings
from shared.engine.route.incoming import Incoming
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow

IN_MEMORY_AT_MOST = 10_000
"""Further effects stay in the database until half of this is free again."""
UNDECIDED_RETRY_S: Final = 30.0


class EffectRunner:
    """One per process. The loop collects `drain_outcomes` to decide them and `drain_attempts` to record them."""

    def __init__(
        self,
        routing: Routing,
        broker: Broker,
        clock: Clock,
        *,
        wake: Callable[[], None],
        heard: Callable[[Effect | None, Mapping[str, str]], None] = lambda effect, headers: None,  # noqa: ARG005 - a default
    ) -> None:
        self._overflowed = False
        """Whether some effects are only in the database."""
        self._last = 0
        """The journal number of the last effect that came into memory."""
        self._undecided: dict[str, EffectRow] = {}
        """The effects whose outcome could not be decided, by event id, until they are called again."""
        self._routing = routing
        self._broker = broker
        self._clock = clock
        self._wake = wake
        self._heard = heard
        self._outcomes: list[Incoming] = []
        self._attempts: dict[str, tuple[int, str]] = {}
        self._queues: dict[str, deque[EffectRow]] = {}
        """The effects of each key that is busy. The first one is called, or waits for its turn or its next attempt."""
        self._count = 0
        self._ids: set[str] = set()
        self._by_name: Mapping[str, Effect] = {kind.__name__: effect for kind, effect in routing.effects.items()}
        self._callers = {
            name: Callers(effect.at_once, partial(self._make_call, name)) for name, effect in self._by_name.items()
        }
        self._calls: dict[str, EffectCall] = {}
        """The calls that have begun and have no outcome, by event id."""
        self._tasks: TaskGroup | None = None
        self.call_times = {kind: Timings() for kind in self._by_name}
        """From the first attempt of a call to its outcome, by the event that asked for it."""

    @property
    def has_room_again(self) -> bool:
        """Whether effects that are only in the database should be loaded now."""
        return self._overflowed and self._count <= IN_MEMORY_AT_MOST // 2

    @property
    def to_load(self) -> tuple[int, int]:
        """(after, limit): load this many open effects after this journal number, and call `add_loaded`."""
        if not self._overflowed:
            return self._last, IN_MEMORY_AT_MOST - self._count
        return 0, IN_MEMORY_AT_MOST if self.has_room_again else 0

    @property
    def backlog(self) -> int:
        """The number of effects without an outcome."""
        return self._count

    @property
    def outcomes(self) -> int:
        """The number of outcomes that the loop has not drained yet."""
        return len(self._outcomes)

    @property
    def has_attempts(self) -> bool:
        """Whether `drain_attempts` would return any."""
        return bool(self._attempts)

    def start(self, tasks: TaskGroup) -> None:
        """Run the calls in this task group."""
        self._tasks = tasks

    def add(self, rows: Sequence[EffectRow]) -> None:
        """Run these effects, each after the earlier ones of its key.

        While some are only in the database, later ones stay there too, because they must not overtake any of their key.
        """
        assert self._tasks is not None
        for row in rows:
            if self._overflowed or self._count >= IN_MEMORY_AT_MOST:
                self._overflowed = True
                return
            self._last = max(self._last, row.n)
            if row.event_id in self._ids:
                continue
            self._ids.add(row.event_id)
            self._count += 1
            queue = self._queues.get(row.key)
            if queue is None:
                self._queues[row.key] = deque((row,))
                self._call_next(row.key)
            else:
                queue.append(row)

    def add_loaded(self, rows: Sequence[EffectRow], *, limit: int) -> None:
        """Run the effects that were loaded with this limit, apart from those that this process is busy with already."""
        if limit:
            busy = self._undecided.keys() | {outcome.message_id for outcome in self._outcomes}
            self._overflowed = False
            self.add([row for row in rows if row.event_id not in busy])
            self._overflowed |= len(rows) == limit

    def drain_outcomes(self, owned: Iterable[int]) -> list[Incoming]:
        """Remove all outcomes and return those of our partitions; the new owner of a lost one repeats the call."""
        drained, self._outcomes = self._outcomes, []
        numbers = set(owned)
        return [outcome for outcome in drained if outcome.partition in numbers]

    def restore_outcomes(self, outcomes: Iterable[Incoming]) -> None:
        """Put outcomes back whose commit failed."""
        self._outcomes = [*outcomes, *self._outcomes]

    def drain_attempts(self) -> dict[str, tuple[int, str]]:
        """Remove and return (attempts, last error) by event id, for effects whose outcome is still unknown."""
        attempts, self._attempts = self._attempts, {}
        return attempts

    def restore_attempts(self, attempts: Mapping[str, tuple[int, str]]) -> None:
        """Put attempts back whose commit failed; newer ones win."""
        self._attempts = {**attempts, **self._attempts}

    def open_calls(self, key: str) -> list[tuple[EffectRow, Attempts]]:
        """The effects of a key without an outcome, in their order, each with its attempts so far."""
        return [
            (row, Attempts(row.attempts, "", "", None) if call is None else call.attempts)
            for row in self._queues.get(key, ())
            for call in (self._calls.get(row.event_id),)
        ]

    def repeat_later(self, row: EffectRow) -> None:
        """Repeat a call after 30 s: it had an outcome, but our code could not decide it."""
        assert self._tasks is not None
        self._undecided[row.event_id] = row

        async def wait_and_add() -> None:
            await self._clock.sleep(UNDECIDED_RETRY_S)
            if self._undecided.get(row.event_id) is row:  # Otherwise the partition was lost meanwhile.
                del self._undecided[row.event_id]
                self.add([row])

        self._tasks.start_soon(wait_and_add)

    def revoke(self, partition: int) -> None:
        """Forget the effects of a partition, which its new owner runs. A call that is under way is not repeated."""
        self._undecided = {name: row for name, row in self._undecided.items() if row.partition != partition}
        for queue in self._queues.values():
            for row in [row for row in queue if row.partition == partition]:
                queue.remove(row)
                self._forget(row)

    def _forget(self, row: EffectRow) -> None:
        self._count -= 1
        self._ids.discard(row.event_id)
        self._calls.pop(row.event_id, None)

    def _call_next(self, key: str) -> None:
        """Queue the first effect of this key for a caller, or forget the key when no effect is left."""
        assert self._tasks is not None
        if queue := self._queues[key]:
            kind = queue[0].type
            if kind not in self._callers:
                self._callers[kind] = Callers(1, partial(self._make_call, kind))
            self._callers[kind].add(key, self._tasks)
        else:
            del self._queues[key]

    async def _make_call(self, kind: str, key: str) -> None:
        """Make one attempt at the first effect of this key, and queue the next effect. Never raises."""
        assert self._tasks is not None
        queue = self._queues[key]
        if not queue or queue[0].type != kind:  # `revoke` has removed the one that was first.
            self._call_next(key)
            return
        row = queue[0]
        call = self._calls.get(row.event_id) or self._begin(row)
        try:
            outcome = await call.make()
        except Exception as error:
            self._attempts[row.event_id] = (call.attempt, described(error))
            self._tasks.start_soon(self._call_again, key, call)
            return
        self.call_times[row.type].add(self._clock.monotonic() - call.began_at)
        if queue and queue[0] is row:
            queue.popleft()
            self._forget(row)
        self._outcomes.append(outcome)
        self._wake()
        self._call_next(key)

    async def _call_again(self, key: str, call: EffectCall) -> None:
        """Wait after a failed attempt, then queue the key again; `revoke` may have removed the effect meanwhile."""
        await call.wait()
        self._call_next(key)

    def _begin(self, row: EffectRow) -> EffectCall:
        effect = self._by_name.get(row.type)
        call = EffectCall(effect, row, self._routing, self._broker, self._clock, self._heard)
        self._calls[row.event_id] = call
        return call
