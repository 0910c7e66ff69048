"""`chorus why` beside a shop in trouble: the command names the cause and the remedy, and does not wait for the dead."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from shared.config.exit_codes import Exit
from shared.ports.broker import Outgoing
from shared.wire.messages import MSG_ID
from tests.chaos.stage import Stage
from tests.e2e.ended import Ended
from tests.e2e.shop import opened
from tests.forking import run_chorus
from tests.guarded import USER
from tests.sagas import SHIPPED
from tests.saying import said
from tests.waiting import WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED_EVERY_S = 0.25


async def why(stage: Stage, order: str) -> tuple[int, str]:
    ran = await run_chorus("why", order, environ=stage.environ)
    return ran.code, ran.output or ran.errors


async def until_why(stage: Stage, order: str, *words: str, code: Exit = Exit.NO) -> None:
    """Ask until the answer has this exit code and all of these words."""
    said = ""
    with anyio.move_on_after(WITHIN_S):
        while True:
            found, said = await why(stage, order)
            if found == code and all(word in said for word in words):
                return
            await anyio.sleep(ASKED_EVERY_S)
    raise AssertionError(f"chorus why {order} does not say {words}, but {said}")


async def until_listed(stage: Stage, beginning: str, words: str) -> None:
    """Ask until a stuck saga is listed so; the read side, which lists them, is behind for a moment."""
    output = ""
    with anyio.move_on_after(WITHIN_S):
        while True:
            listed = await run_chorus("ls", "--stuck", environ=stage.environ)
            assert listed.code == Exit.OK
            output = listed.output
            if any(line.startswith(beginning) and words in line for line in output.splitlines()):
                return
            await anyio.sleep(ASKED_EVERY_S)
    raise AssertionError(f"chorus ls --stuck lists no {beginning!r} with {words!r}, but {output}")


async def test_bank_that_is_down_is_named_and_is_over_when_it_is_back(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why1", 10)
    await stage.kill("bank")
    await stage.place("why1", "s-why1")
    await until_why(
        stage,
        "why1",
        "why1 waits: payments has asked bank",
        "no responders",
        "; it asks again in ",
        "is bank running? chorus worker bank",
        "purchase: goes on for ",
    )
    await stage.start("bank")
    await ended.check("why1", SHIPPED)
    parcel = "shipping.ReportDelivered or shipping.ReportLost or shipping.ReportReturned"
    await until_why(stage, "why1", f"a command brings it on: {parcel}", "purchase: confirmed after", code=Exit.OK)


async def test_stuck_order_is_listed_and_a_context_without_a_process_lags(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-ls", 10)
    await stage.kill("bank")
    await stage.place("ls1", "s-ls")
    await until_why(stage, "ls1", "ls1 waits: payments has asked bank")
    await until_listed(stage, "ls1 ", "payments has asked ")
    assert (await run_chorus("ls", "--customer", "nobody", environ=stage.environ)).output.startswith("no saga is like")

    shown = json.loads((await run_chorus("top", "--once", "--every", "200ms", "--json", environ=stage.environ)).output)
    assert "ls1" in [saga["key"] for saga in shown["stuck"]["sagas"]]
    assert sum(lag["calls"] for lag in shown["lag"]["lags"] if lag["context"] == "payments") >= 1

    lag = await run_chorus("lag", "--every", "100ms", environ=stage.environ)
    assert lag.code == Exit.NO
    assert [line for line in lag.output.splitlines() if line.startswith("bank") and "chorus worker bank" in line]
    await stage.start("bank")
    await ended.check("ls1", SHIPPED)


async def test_payments_that_are_killed_or_frozen_are_named(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why2", 10)
    stage.signal("payments", signal.SIGSTOP)
    await stage.place("why2", "s-why2")
    await until_why(
        stage,
        "why2",
        "why2 waits: payments is connected but does not answer, and has not reacted to",
        "ordering.OrderPlaced",
    )
    await stage.kill("payments")
    await until_why(
        stage,
        "why2",
        "why2 waits: payments does not run, and has not reacted to ordering.OrderPlaced",
        "chorus worker payments",
    )
    await stage.start("payments")
    await ended.check("why2", SHIPPED)


async def test_removed_consumer_is_named(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why3", 10)
    for partition in range(4):
        await stage.api(f"CONSUMER.DELETE.EVENTS.shipping-{partition}")
    await stage.place("why3", "s-why3")
    await until_why(
        stage,
        "why3",
        "why3 waits: shipping reads nothing: its consumer EVENTS/shipping-",
        "is missing",
        "chorus streams apply",
    )
    await stage.apply_streams()
    await ended.check("why3", SHIPPED)


async def test_frozen_bank_is_named(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why4", 10)
    stage.signal("bank", signal.SIGSTOP)
    await stage.place("why4", "s-why4")
    await until_why(stage, "why4", "why4 waits: payments has asked bank", "is bank running? chorus worker bank")
    stage.signal("bank", signal.SIGCONT)
    await ended.check("why4", SHIPPED)


async def test_poison_is_named_with_its_reason(tmp_path: Path) -> None:
    """On a stage of its own, since a message that nobody has caused stays in EVENTS."""
    async with opened(Stage, tmp_path) as stage:
        headers = {**said("why5"), MSG_ID: "payments/payment-why5@9"}
        poison = Outgoing("evt.payments.PaymentSucceeded.why5", headers, b"no JSON")
        await stage.brokers[USER].publish(poison)
        await until_why(
            stage,
            "why5",
            "why5 waits: ordering parked PaymentSucceeded at ",
            "fix the cause, then chorus parked retry why5",
        )
        for context in ("ordering", "shipping"):
            environ = {**stage.environ, "CHORUS_DATA_DIR": str(stage.data_dir(context))}
            skipped = await run_chorus("parked", "skip", "why5", "--why", "no JSON", "--yes", environ=environ)
            assert skipped.code == Exit.OK, skipped
        await until_why(stage, "why5", "Nothing of why5 is open, and no saga has begun.", code=Exit.OK)


async def test_full_stream_is_named_with_its_remedy(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why6", 10)
    found = json.loads(await stage.api("STREAM.INFO.EVENTS"))
    full = {**found["config"], "discard": "new", "max_msgs": found["state"]["messages"]}
    await stage.api("STREAM.UPDATE.EVENTS", json.dumps(full).encode())
    await stage.place("why6", "s-why6")
    await until_why(
        stage,
        "why6",
        "ordering is kept from its work since",
        "EVENTS: ",
        "maximum messages exceeded",
        "raise its max_msgs or max_bytes in streams.yaml",
    )
    await stage.api("STREAM.UPDATE.EVENTS", json.dumps(found["config"]).encode())
    await ended.check("why6", SHIPPED)


async def test_context_that_cannot_write_its_database_is_named(stage: Stage, ended: Ended) -> None:
    await stage.stock("s-why7", 10)
    with closing(sqlite3.connect(stage.databases["inventory"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await stage.place("why7", "s-why7")
        await until_why(
            stage,
            "why7",
            "why7 waits: inventory is kept from its work since",
            "inventory.db: ",
            "Inventory has not come to ordering.OrderPlaced yet",
        )
        other.execute("ROLLBACK")
    await ended.check("why7", SHIPPED)


async def test_key_that_nobody_knows_is_reported(stage: Stage) -> None:
    code, said = await why(stage, "why-nobody")
    assert code == Exit.NO
    assert said.startswith("Nobody knows why-nobody: no stream has a message under it, and no context a state.\n")
