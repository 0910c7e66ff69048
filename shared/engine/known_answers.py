"""Compares the outcomes that a context has from a service with the answers that the service still has.

A service that was started with an older copy of its database has forgotten answers, and no stream shows it. Each of its
answers names the time at which it started. After the first answer since a start, this module asks the service for the
newest outcomes, and raises an alarm while one is missing.
"""

from collections.abc import Mapping

import msgspec
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct

from shared.context import Context, Effect
from shared.engine.monitor.alarms import Alarms
from shared.ports.broker import Broker, BrokerError
from shared.ports.store import DatabaseBusyError, Store
from shared.wire.messages import ANSWERING_SINCE, IDEMPOTENCY_KEY

NEWEST = 32
"""The number of outcomes that are compared: a copy that has them all lacks nothing that is older."""
TIMEOUT_S = 10.0

_log = structlog.get_logger("chorus.answers")


class Found(Struct, frozen=True, kw_only=True):
    """Whether a service has an answer under a key."""

    found: bool


_decode = msgspec.json.Decoder(Found).decode


class KnownAnswers:
    """One per process. The effect runner passes the headers of each answer to `heard`."""

    def __init__(self, context: Context, store: Store, broker: Broker, alarms: Alarms) -> None:
        self._context = context
        self._store = store
        self._broker = broker
        self._alarms = alarms
        self._tasks: TaskGroup | None = None
        self._compared: set[tuple[str, str]] = set()
        """(lookup, since) of each start of a service whose answers were compared, or are being compared."""
        self._missing: dict[str, dict[str, str]] = {}
        """The saga of each outcome that a service has lost, by lookup and key."""

    def start(self, tasks: TaskGroup) -> None:
        """Ask in this task group."""
        self._tasks = tasks

    def heard(self, effect: Effect | None, headers: Mapping[str, str]) -> None:
        """Compare, if this is the first answer of a service since it started; `headers` are those of the answer."""
        started = ("" if effect is None else effect.lookup, headers.get(ANSWERING_SINCE, ""))
        if not all(started) or started in self._compared or self._tasks is None:
            return
        self._compared.add(started)
        self._tasks.start_soon(self._compare, started)

    async def _compare(self, started: tuple[str, str]) -> None:
        lookup, _ = started
        kinds = [effect.asked_by.__name__ for effect in self._context.effects if effect.lookup == lookup]
        try:
            newest = await self._store.read(lambda transaction: transaction.closed_effects(kinds, limit=NEWEST))
            asked = {**self._missing.get(lookup, {}), **dict(newest)}
            missing = {key: saga for key, saga in asked.items() if not await self._has(lookup, key)}
        except (BrokerError, DatabaseBusyError, msgspec.DecodeError) as error:
            self._compared.discard(started)  # The next answer asks again.
            _log.info("answers not compared", lookup=lookup, error=repr(error))
            return
        self._missing[lookup] = missing
        if not missing:
            self._alarms.clear("service", lookup)
            return
        for key, saga in missing.items():
            _log.error("a service does not know an answer that it gave", saga=saga, message=key, lookup=lookup)
        self._alarms.raise_(
            "service",
            lookup,
            reason=f"it does not know {len(missing)} of its newest answers, as that to {next(iter(missing))}: it has an"
            " older copy of its database",
            remedy="stop the service before it decides more, and start it with its newest database",
        )

    async def _has(self, lookup: str, key: str) -> bool:
        _, body = await self._broker.request(lookup, b"", {IDEMPOTENCY_KEY: key}, TIMEOUT_S)
        return _decode(body).found
