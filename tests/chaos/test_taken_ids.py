"""A foreign message has the id of a future event: `parked ls` names the order it blocks, and the remedy (R20)."""

import getpass
import json
import socket
import urllib.request
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from shared.config.exit_codes import Exit
from shared.ports.broker import Outgoing
from shared.wire.messages import MSG_ID
from tests.chaos.stage import CHECKED_EVERY_S, Stage
from tests.e2e.ended import Ended
from tests.forking import run_chorus
from tests.guarded import USER
from tests.sagas import SHIPPED
from tests.waiting import WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

WHY = "a load test took the id"


def payment_of(order: str) -> str:
    return f"payments/payment-{order}@1"


async def take_the_id(stage: Stage, order: str) -> None:
    await stage.brokers[USER].publish(Outgoing("evt.payments.Whatever.zz", {MSG_ID: payment_of(order)}, b"{}"))


async def chorus(stage: Stage, *words: str) -> tuple[int, str]:
    """Run a command as an operator would, on the machine of payments."""
    environ = {**stage.environ, "CHORUS_DATA_DIR": str(stage.data_dir("payments"))}
    ran = await run_chorus(*words, environ=environ)
    return ran.code, ran.output or ran.errors


async def refused(stage: Stage) -> Sequence[Any]:
    """The refused rows of `parked ls`, once there are any. The foreign message may be listed too, as a stranger's."""
    with anyio.fail_after(WITHIN_S):
        while True:
            code, told = await chorus(stage, "parked", "ls", "--json")
            assert code in (Exit.OK, Exit.NO), told
            rows: Sequence[Any] = [row for row in json.loads(told) if row["kind"] == "refused"]
            if rows:
                return rows
            await anyio.sleep(CHECKED_EVERY_S)


async def metrics(port: int) -> str:
    def fetch() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN_S) as answer:
            return str(answer.read().decode())

    return await anyio.to_thread.run_sync(fetch)


def keys_at_the_bank(stage: Stage, order: str) -> list[str]:
    query = "SELECT idempotency_key FROM answers WHERE instr(idempotency_key, ?) ORDER BY 1"
    return [key for (key,) in stage.rows("bank", query, f"/payment-{order}@")]


async def test_order_whose_id_was_taken_is_listed_and_ships_once_the_operator_voids_the_message(
    stage: Stage, ended: Ended
) -> None:
    order = "pre1"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await stage.stop("payments")
    await stage.start("payments", metrics_port=str(port))
    await stage.stock("s-pre1", 10)
    await take_the_id(stage, order)
    await stage.place(order, "s-pre1")
    (row,) = await refused(stage)
    assert (row["key"], row["message_id"]) == (order, payment_of(order))
    assert "EVENTS has another message under the id" in row["cause"]
    assert f"chorus parked void {row['number']}" in row["remedy"]
    said = await metrics(port)
    assert 'chorus_relay_stuck_keys{context="payments"} 1.0' in said
    assert 'chorus_alarms{context="payments",kind="publication"} 1.0' in said
    code, shown = await chorus(stage, "parked", "show", order)
    assert code == Exit.OK
    assert "evt.payments.Whatever." in shown

    code, told = await chorus(stage, "why", order)
    assert code == Exit.NO
    assert told.startswith(f"{order} waits: payments decided AuthorizationRequested, which the broker refuses: ")
    assert f"chorus parked show {row['number']}" in told

    code, told = await chorus(stage, "parked", "retry", order)
    assert (code, "refused again: EVENTS has another message" in told) == (Exit.NO, True)
    code, told = await chorus(stage, "parked", "void", row["number"], "--why", WHY)
    assert (code, "add --yes" in told) == (Exit.USAGE, True)
    code, told = await chorus(stage, "parked", "void", row["number"], "--why", WHY, "--yes")
    assert (code, f"published as {payment_of(order)}.2 at sequence" in told) == (Exit.OK, True)

    await ended.check(order, SHIPPED)
    assert await chorus(stage, "parked", "ls") == (Exit.OK, "nothing is parked\n")
    authorized, captured = keys_at_the_bank(stage, order)
    assert (authorized, ".2" in captured) == (payment_of(order), False)
    strangers = stage.rows(
        "payments", "SELECT message_id, subject LIKE 'evt.payments.Whatever.%', who, why FROM strangers"
    )
    assert strangers == [(payment_of(order), 1, getpass.getuser(), WHY)]
    await stage.check_at_rest()


async def test_worker_killed_between_the_verdict_and_the_publication_publishes_it_when_it_is_back(
    stage: Stage, ended: Ended
) -> None:
    order = "pre2"
    await stage.stock("s-pre2", 10)
    await take_the_id(stage, order)
    await stage.place(order, "s-pre2")
    (row,) = await refused(stage)
    await stage.kill("payments")
    code, told = await chorus(stage, "parked", "void", row["number"], "--why", WHY, "--yes", "--timeout", "500ms")
    assert (code, "no worker of payments has acted on it" in told) == (Exit.NO, True)
    await stage.arm("payments", "before-publish")
    await stage.dies("payments")
    await stage.start("payments")
    await ended.check(order, SHIPPED)
    assert all(".2" not in key for key in keys_at_the_bank(stage, order))
    await stage.check_at_rest()

    await stage.stop("payments")
    states = stage.rows("payments", "SELECT * FROM aggregates ORDER BY id")
    code, told = await chorus(stage, "rebuild", "payments", "--force")
    assert code == Exit.OK, told
    assert stage.rows("payments", "SELECT * FROM aggregates ORDER BY id") == states
    await stage.start("payments")
    await stage.check_at_rest()
