"""An outside call whose outcome is unknown is repeated under the same key, in order, also by the next process."""

import dataclasses

import anyio
from structlog.testing import capture_logs

from shared.context import Call
from tests.integration.engine import PARTITIONS, Counter, running, working
from tests.integration.keys import TILL
from tests.integration.till import Printer, ReceiptRequested, RecordPrinted, till
from tests.waiting import WITHIN_S, until


class TestEffects:
    """Calls to the outside."""

    async def test_unknown_outcome_is_asked_again_under_the_same_key_in_order(self, counter: Counter) -> None:
        printer = Printer()
        async with running(counter, till(printer)):
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "first at 3"}')
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "second at 1"}')
            await counter.watcher.until(TILL, "ReceiptPrinted", times=2)
        first, second = f"till/till-{TILL}@1", f"till/till-{TILL}@2"
        assert [key for _, key in printer.asked] == [first, first, first, second]
        printed = [fact.content["text"] for fact in counter.watcher.about(TILL) if fact.type == "ReceiptPrinted"]
        assert printed == ["first at 3", "second at 1"]
        assert counter.rows("SELECT count(*) FROM effects") == [(0,)]

    async def test_effect_without_an_outcome_is_asked_again_by_the_next_process(self, counter: Counter) -> None:
        printer = Printer()
        async with running(counter, till(printer)):
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "late at 2"}')
            await counter.watcher.until(TILL, "ReceiptRequested")
        async with running(counter, till(printer)):
            await counter.watcher.until(TILL, "ReceiptPrinted")
        assert {key for _, key in printer.asked} == {f"till/till-{TILL}@1"}
        assert counter.watcher.types(TILL) == {"ReceiptRequested": 1, "ReceiptPrinted": 1}

    async def test_outcome_that_comes_to_who_has_lost_the_partition_is_left_to_who_has_it(
        self, counter: Counter
    ) -> None:
        first, second = PatientPrinter(), PatientPrinter()
        async with running(counter, till(first)):
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "late at 1"}')
            await first.has_been_asked.wait()
            async with running(counter, till(second)) as taking_over:
                with anyio.fail_after(WITHIN_S):
                    while len(taking_over._ownership.owned) < PARTITIONS:
                        for partition in range(PARTITIONS):
                            await counter.broker.unpin("TIMERS", f"till-{partition}")
                        await anyio.sleep(0.5)  # The pins move by themselves, and tell nobody.
                first.may_answer.set()
                with anyio.move_on_after(0.5):
                    await counter.watcher.until(TILL, "ReceiptPrinted")
                second.may_answer.set()
                await counter.watcher.until(TILL, "ReceiptPrinted")
        assert counter.watcher.types(TILL) == {"ReceiptRequested": 1, "ReceiptPrinted": 1}


class PatientPrinter(Printer):
    """Prints when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.has_been_asked = anyio.Event()
        self.may_answer = anyio.Event()

    async def print(self, requested: ReceiptRequested, call: Call) -> RecordPrinted:
        """Print one receipt, not before it may."""
        self.has_been_asked.set()
        await self.may_answer.wait()
        return await super().print(requested, call)


async def test_call_that_stays_unknown_is_logged_at_every_doubling(counter: Counter) -> None:
    with capture_logs() as lines:
        async with running(counter):
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "thanks at 5"}')
            await counter.watcher.until(TILL, "ReceiptPrinted")
    unknown = [line for line in lines if line["event"] == "outcome unknown" and line["log_level"] == "warning"]
    assert [line["attempt"] for line in unknown] == [1, 2, 4]


async def test_call_of_which_this_release_knows_no_effect_waits_for_one_that_does_and_says_so(counter: Counter) -> None:
    async with running(counter):
        await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "late at 99"}')
        await counter.watcher.until(TILL, "ReceiptRequested")
    async with working(counter, dataclasses.replace(till(), effects=())) as process:
        await counter.ring(TILL, 5)
        await counter.watcher.until(TILL, "Rung")
        await until(lambda: process.effects.open_calls(TILL)[0][1].last_error != "")
        ((_, attempts),) = process.effects.open_calls(TILL)
        assert attempts.last_error == (
            "NoEffectError: this release has no effect for ReceiptRequested; run one that does"
        )
    printer = Printer()
    async with running(counter, till(printer)):
        await until(lambda: len(printer.asked) > 0)
