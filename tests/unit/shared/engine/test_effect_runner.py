"""The effect runner by itself: how many calls are in memory, and which process makes a call again."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import anyio

from shared.context import Call, Context
from shared.engine.effects import IN_MEMORY_AT_MOST, UNDECIDED_RETRY_S, EffectRunner
from shared.engine.route.routing import Routing
from shared.engine.route.tracing import NOT_TRACING, SpanTracing, Tracing
from shared.ports.broker import Broker
from shared.ports.rows import EffectRow
from shared.ports.spans import Span
from shared.wire.messages import CAUSATION_DEPTH, CORRELATION_ID
from shared.wire.trace_context import TRACEPARENT
from tests.integration.till import Printer, ReceiptRequested, RecordPrinted, till
from tests.waiting import until

WITHIN_S = 20.0


class _Clock:
    """Wakes every sleeper when the test says so."""

    def __init__(self) -> None:
        self.woken = anyio.Event()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.woken.wait()


class _SlowPrinter(Printer):
    """Answers no call before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = anyio.Event()
        self.at_once = 0
        self.attempts: list[tuple[str, int]] = []

    async def print(self, requested: ReceiptRequested, call: Call) -> RecordPrinted:
        self.attempts.append((call.idempotency_key, call.attempt))
        self.at_once += 1
        await self.may_answer.wait()
        self.at_once -= 1
        return await super().print(requested, call)


def _rows(numbers: Sequence[int], partition: int = 0, *, key: str = "t-1", printed_at: int = 1) -> list[EffectRow]:
    headers = {CORRELATION_ID: "t-1", CAUSATION_DEPTH: "1"}
    return [
        EffectRow(
            n,
            f"till/till-{key}@{n}",
            key,
            partition,
            0,
            "ReceiptRequested",
            headers,
            b'{"till_id": "%b", "text": "%d at %d"}' % (key.encode(), n, printed_at),
        )
        for n in numbers
    ]


class _Spans:
    def __init__(self) -> None:
        self.added: list[Span] = []

    def add(self, spans: Sequence[Span]) -> None:
        self.added += spans


@asynccontextmanager
async def _running(
    of: Printer | Context, clock: _Clock | None = None, tracing: Tracing = NOT_TRACING
) -> AsyncIterator[EffectRunner]:
    context = till(of) if isinstance(of, Printer) else of
    routing = Routing(context, partitions=2, tracing=tracing)
    runner = EffectRunner(routing, cast(Broker, None), clock or _Clock(), wake=asyncio.Event().set)
    async with asyncio.timeout(WITHIN_S), anyio.create_task_group() as tasks:
        runner.start(tasks)
        yield runner
        tasks.cancel_scope.cancel()


async def _all_answered(runner: EffectRunner) -> None:
    await until(lambda: runner.backlog == 0)


async def test_calls_that_do_not_fit_into_memory_are_made_later_in_order_and_none_is_forgotten() -> None:
    printer = _SlowPrinter()
    fitting, left, newer = range(1, IN_MEMORY_AT_MOST + 1), IN_MEMORY_AT_MOST + 1, IN_MEMORY_AT_MOST + 2
    async with _running(printer) as runner:
        runner.add(_rows([*fitting, left]))
        assert (runner.backlog, runner.has_room_again) == (IN_MEMORY_AT_MOST, False)
        printer.may_answer.set()
        await _all_answered(runner)
        runner.add(_rows([newer]))  # It must not overtake the call that is in the database only.
        assert (runner.backlog, runner.has_room_again) == (0, True)
        after, limit = runner.to_load
        assert (after, limit) == (0, IN_MEMORY_AT_MOST)
        decided = [outcome.message_id for outcome in runner.drain_outcomes([0])]
        runner.add_loaded(_rows([left, newer]), limit=limit)
        await _all_answered(runner)
    assert len(decided) == IN_MEMORY_AT_MOST
    assert [text for text, _ in printer.asked] == [f"{n} at 1" for n in (*fitting, left, newer)]


async def test_call_whose_outcome_waits_for_the_loop_is_not_made_again() -> None:
    printer = Printer()
    async with _running(printer) as runner:
        runner.add(_rows([1]))
        await _all_answered(runner)
        runner.add_loaded(_rows([1]), limit=IN_MEMORY_AT_MOST)
        await _all_answered(runner)
        assert [outcome.message_id for outcome in runner.drain_outcomes([0])] == ["till/till-t-1@1"]
    assert len(printer.asked) == 1


async def test_failed_call_of_a_lost_partition_is_repeated_by_its_new_owner_only() -> None:
    printer, clock = Printer(), _Clock()
    async with _running(printer, clock) as runner:
        runner.add(_rows([1], printed_at=2))
        await until(lambda: clock.slept)
        runner.revoke(0)
        clock.woken.set()
        await until(lambda: not runner.open_calls("t-1"))
        await asyncio.sleep(0)
        runner.add(_rows([2]))
        await _all_answered(runner)
        assert [outcome.message_id for outcome in runner.drain_outcomes([0])] == ["till/till-t-1@2"]
    assert [key for _, key in printer.asked] == ["till/till-t-1@1", "till/till-t-1@2"]


async def test_call_that_waits_for_its_turn_is_left_to_the_new_owner_of_a_lost_partition() -> None:
    printer = _SlowPrinter()
    at_once = till(printer).effects[0].at_once
    rows = [row for number in range(at_once) for row in _rows([1], key=f"busy-{number}")]
    lost = _rows([2], partition=1)
    async with _running(printer) as runner:
        runner.add([*rows, *lost])
        await until(lambda: printer.at_once == at_once)
        runner.revoke(1)
        assert runner.backlog == at_once
        printer.may_answer.set()
        await _all_answered(runner)
        runner.add(lost)  # Ours again.
        await until(lambda: runner.outcomes > at_once)
    assert [key for _, key in printer.asked] == [*(row.event_id for row in rows), "till/till-t-1@2"]


async def test_call_that_comes_back_with_its_partition_goes_on_from_the_attempts_in_the_database() -> None:
    printer, clock = _SlowPrinter(), _Clock()
    at_once = till(printer).effects[0].at_once
    (row,) = _rows([1], printed_at=8)
    async with _running(printer, clock) as runner:
        printer.may_answer.set()
        runner.add([row])
        await until(lambda: clock.slept)
        printer.may_answer = anyio.Event()
        runner.add([busy for number in range(at_once) for busy in _rows([1], 1, key=f"busy-{number}")])
        await until(lambda: printer.at_once == at_once)
        clock.woken.set()
        await until(lambda: runner.open_calls("t-1")[0][1].next_at is None)  # Waits for its turn again.
        runner.revoke(0)
        printer.may_answer.set()
        await _all_answered(runner)
        runner.add([row._replace(attempts=7)])  # Another process has tried meanwhile.
        await _all_answered(runner)
    assert [attempt for key, attempt in printer.attempts if key == row.event_id] == [1, 8]


async def test_attempt_without_an_answer_ends_after_its_time_and_its_span_says_so() -> None:
    context = till(_SlowPrinter())
    impatient = dataclasses.replace(context.effects[0], timeout_s=0.01)
    clock, spans = _Clock(), _Spans()
    tracing = SpanTracing("till", spans, clock, traces_per_s=1)
    (row,) = _rows([1])
    row = row._replace(headers={**row.headers, TRACEPARENT: f"00-{'a' * 32}-{'b' * 16}-01"})
    async with _running(dataclasses.replace(context, effects=(impatient,)), clock, tracing) as runner:
        runner.add([row])
        await until(lambda: clock.slept)
        assert runner.drain_attempts() == {row.event_id: (1, "TimeoutError: ")}
    assert [span.error for span in spans.added] == ["TimeoutError: "]


async def test_undecided_outcome_of_a_lost_partition_is_left_to_its_new_owner() -> None:
    printer, clock = Printer(), _Clock()
    async with _running(printer, clock) as runner:
        runner.repeat_later(_rows([1], partition=0)[0])
        runner.repeat_later(_rows([2], partition=1)[0])
        await asyncio.sleep(0)
        assert clock.slept == [UNDECIDED_RETRY_S, UNDECIDED_RETRY_S]
        runner.revoke(0)
        clock.woken.set()
        await until(lambda: runner.outcomes > 0)
        await _all_answered(runner)
    assert [key for _, key in printer.asked] == ["till/till-t-1@2"]
