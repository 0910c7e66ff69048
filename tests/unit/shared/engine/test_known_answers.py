"""A context compares its outcomes with the answers of a service once after each start of the service."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio
from msgspec import Struct

from shared.adapters.clock import SystemClock
from shared.context import Call, Context, Effect
from shared.engine.known_answers import KnownAnswers
from shared.engine.monitor.alarms import Alarms
from shared.ports.broker import Broker, BrokerUnavailableError
from shared.ports.store import Store
from shared.wire.messages import ANSWERING_SINCE, IDEMPOTENCY_KEY

LOOKUP = "svc.printer.lookup"
MONDAY, TUESDAY = {ANSWERING_SINCE: "2026-11-23T09:00:00Z"}, {ANSWERING_SINCE: "2026-11-24T09:00:00Z"}


class Wanted(Struct, frozen=True):
    """A copy is wanted."""


async def print_it(_: Any, __: Call) -> Struct:
    return Wanted()


PRINT = Effect(asked_by=Wanted, call=print_it, outcomes=(Wanted,), lookup=LOOKUP)
SILENT = Effect(asked_by=Wanted, call=print_it, outcomes=(Wanted,))


class _Outcomes:
    """Its context has an outcome of w-1 and of w-2."""

    async def read(self, work: Callable[[Any], Any]) -> Any:
        return work(self)

    def closed_effects(self, kinds: list[str], *, limit: int) -> list[tuple[str, str]]:
        assert (kinds, limit) == (["Wanted"], 32)
        return [("w-2", "o-2"), ("w-1", "o-1")]


class _Printer:
    """A service that has these answers; it is away while they are None."""

    def __init__(self, has: set[str] | None) -> None:
        self.has = has
        self.asked: list[str] = []

    async def request(self, subject: str, _: bytes, headers: Mapping[str, str], __: float) -> tuple[object, bytes]:
        assert subject == LOOKUP
        if self.has is None:
            raise BrokerUnavailableError("no answer")
        self.asked.append(headers[IDEMPOTENCY_KEY])
        return {}, b'{"found":true}' if headers[IDEMPOTENCY_KEY] in self.has else b'{"found":false}'


class Heard:
    """The comparisons of one process."""

    def __init__(self, printer: _Printer) -> None:
        self.alarms = Alarms(SystemClock())
        context = Context(name="office", deciders=(), effects=(PRINT, SILENT))
        broker, store = cast(Broker, printer), cast(Store, _Outcomes())
        self._answers = KnownAnswers(context, store, broker, self.alarms)

    async def __call__(self, *answers: Mapping[str, str], effect: Effect = PRINT) -> None:
        async with anyio.create_task_group() as tasks:
            self._answers.start(tasks)
            for headers in answers:
                self._answers.heard(effect, headers)


async def test_service_that_lacks_an_answer_has_an_alarm_until_it_has_all_of_them_again() -> None:
    printer = _Printer({"w-1"})
    heard = Heard(printer)
    await heard(MONDAY)
    (alarm,) = heard.alarms.raised
    assert (alarm.kind, alarm.subject) == ("service", LOOKUP)
    assert "as that to w-2" in alarm.reason
    printer.has = {"w-1", "w-2"}
    await heard(TUESDAY)
    assert heard.alarms.raised == []


async def test_service_is_asked_once_after_each_start() -> None:
    printer = _Printer({"w-1", "w-2"})
    heard = Heard(printer)
    await heard(MONDAY, MONDAY, MONDAY)
    assert printer.asked == ["w-2", "w-1"]
    await heard(TUESDAY)
    assert printer.asked == ["w-2", "w-1"] * 2


async def test_service_that_does_not_answer_is_asked_at_its_next_answer() -> None:
    printer = _Printer(None)
    heard = Heard(printer)
    await heard(MONDAY)
    assert heard.alarms.raised == []
    printer.has = set()
    await heard(MONDAY)
    assert [alarm.subject for alarm in heard.alarms.raised] == [LOOKUP]


async def test_service_without_a_lookup_or_without_its_start_is_not_asked() -> None:
    printer = _Printer(set())
    heard = Heard(printer)
    await heard(MONDAY, effect=SILENT)
    await heard({})
    assert printer.asked == []
