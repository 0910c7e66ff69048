"""The bank on a real SQLite file: one answer per key, kept over restarts, and no money from nowhere."""

import asyncio
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import msgspec
import pytest

from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions
from shared.config.exit_codes import Exit
from shared.config.settings import Settings
from shared.context import Answer, Endpoints, Request
from shared.ports.broker import BrokerUnavailableError
from shared.run.system import apply_streams
from shared.worker.health_file import live_processes
from tests.e2e.shop import environment
from tests.integration.bank import open_bank
from tests.ledger import Balance, Entry, Ledger, problems_of, read_ledger
from tests.processes import Worker, spawn_ready
from tests.waiting import WITHIN_S, until

Ask: TypeAlias = Callable[..., Awaitable[Any]]

TOTAL = {"amount_minor": 4200, "currency": "EUR"}
DONE = {"outcome": "done"}
OPENING_MINOR = 10**12
SLOW_S = 0.2


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Endpoints]:
    async with open_bank(tmp_path, slow_s=SLOW_S) as endpoints:
        yield endpoints


async def ask(bank: Endpoints, operation: str, key: str, **body: object) -> Any:
    """The answer's JSON; None when it is lost, and a failure when it is an error."""
    answer = await put(bank, operation, {"Idempotency-Key": key}, msgspec.json.encode(body))
    if answer is None:
        return None
    assert answer.error is None, answer.error
    return msgspec.json.decode(answer.body)


async def put(bank: Endpoints, operation: str, headers: dict[str, str], body: bytes) -> Answer | None:
    return await bank[f"svc.bank.{operation}"](Request(headers, body))


def authorize(bank: Endpoints, token: str, payment: str = "pay-1", key: str = "k-authorize") -> Awaitable[Any]:
    return ask(bank, "authorize", key, payment_id=payment, method_token=token, amount=TOTAL)


def ledger(directory: Path) -> Ledger:
    with closing(sqlite3.connect(f"file:{directory}/bank.db?mode=ro", uri=True)) as books:
        return read_ledger(books)


def balance(directory: Path, account: str) -> Balance:
    return ledger(directory).balances[account, "EUR"]


async def test_money_is_held_then_taken_then_given_back(bank: Endpoints, tmp_path: Path) -> None:
    assert await ask(bank, "verify", "k-1", method_token="tok_ok_1") == DONE
    assert await authorize(bank, "tok_ok_1") == DONE
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 4200)
    assert await ask(bank, "capture", "k-2", payment_id="pay-1", amount=TOTAL) == DONE
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR - 4200, 0)
    assert balance(tmp_path, "merchant") == (4200, 0)
    assert await ask(bank, "refund", "k-3", payment_id="pay-1", amount=TOTAL) == DONE
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 0)
    assert balance(tmp_path, "merchant") == (0, 0)
    assert ledger(tmp_path).entries == [
        Entry("tok_ok_1", "", "opening", "EUR", OPENING_MINOR),
        Entry("merchant", "", "opening", "EUR", 0),
        Entry("tok_ok_1", "merchant", "pay-1", "EUR", -4200),
        Entry("merchant", "tok_ok_1", "pay-1", "EUR", 4200),
        Entry("merchant", "tok_ok_1", "pay-1", "EUR", -4200),
        Entry("tok_ok_1", "merchant", "pay-1", "EUR", 4200),
    ]


async def test_refunds_in_parts_never_exceed_the_capture(bank: Endpoints, tmp_path: Path) -> None:
    await authorize(bank, "tok_ok_1")
    await ask(bank, "capture", "k-2", payment_id="pay-1", amount=TOTAL)
    parts = [("r-1", 1000), ("r-1", 1000), ("r-2", 3201), ("r-3", 3200), ("r-4", 1)]
    outcomes = [
        (await ask(bank, "refund", key, payment_id="pay-1", amount={**TOTAL, "amount_minor": minor}))["outcome"]
        for key, minor in parts
    ]
    assert outcomes == ["done", "done", "refused", "done", "refused"]
    assert balance(tmp_path, "merchant") == (0, 0)
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 0)


@pytest.mark.parametrize(("token", "payment"), [("tok ok/ä", "pay-1"), ("tok_ok_1", "pay." + 190 * "x")])
async def test_names_that_no_subject_can_carry_pay_as_well(
    bank: Endpoints, tmp_path: Path, token: str, payment: str
) -> None:
    assert await authorize(bank, token, payment) == DONE
    assert await ask(bank, "capture", "k-2", payment_id=payment, amount=TOTAL) == DONE
    assert balance(tmp_path, "merchant") == (4200, 0)


async def test_void_lets_the_money_go(bank: Endpoints, tmp_path: Path) -> None:
    await authorize(bank, "tok_ok_1")
    assert await ask(bank, "void", "k-2", payment_id="pay-1") == DONE
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 0)
    refused = await ask(bank, "capture", "k-3", payment_id="pay-1", amount=TOTAL)
    assert refused == {"outcome": "refused", "reason": "not_possible"}


@pytest.mark.parametrize(("token", "reason"), [("tok_poor_1", "insufficient_funds"), ("tok_declined_1", "declined")])
async def test_token_that_does_not_pay_is_refused(bank: Endpoints, token: str, reason: str) -> None:
    assert await authorize(bank, token) == {"outcome": "refused", "reason": reason}


async def test_same_key_gets_the_same_answer_and_moves_no_money(bank: Endpoints, tmp_path: Path) -> None:
    for _ in range(3):
        assert await authorize(bank, "tok_ok_1") == DONE
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 4200)


async def test_same_key_in_one_transaction_gets_one_effect(bank: Endpoints, tmp_path: Path) -> None:
    assert await asyncio.gather(*(authorize(bank, "tok_ok_1") for _ in range(20))) == 20 * [DONE]
    assert balance(tmp_path, "tok_ok_1") == (OPENING_MINOR, 4200)


async def test_refusal_under_a_key_is_kept(bank: Endpoints) -> None:
    refused = {"outcome": "refused", "reason": "refund_refused"}
    await authorize(bank, "tok_norefund_1")
    await ask(bank, "capture", "k-2", payment_id="pay-1", amount=TOTAL)
    for key in ("r-1", "r-1", "r-2", "r-2"):
        assert await ask(bank, "refund", key, payment_id="pay-1", amount=TOTAL) == refused
    assert await ask(bank, "refund", "r-3", payment_id="pay-1", amount=TOTAL) == DONE
    assert await ask(bank, "refund", "r-1", payment_id="pay-1", amount=TOTAL) == refused


async def test_same_key_with_other_content_is_a_conflict(bank: Endpoints) -> None:
    await authorize(bank, "tok_ok_1")
    for operation, body in [
        ("authorize", {"payment_id": "pay-2", "method_token": "tok_ok_1", "amount": TOTAL}),
        ("void", {"payment_id": "pay-1"}),
    ]:
        answer = await put(bank, operation, {"Idempotency-Key": "k-authorize"}, msgspec.json.encode(body))
        assert answer is not None
        assert answer.error is not None
        assert answer.error[0] == "409"


async def test_answers_are_kept_over_a_restart(tmp_path: Path) -> None:
    async with open_bank(tmp_path, slow_s=0) as bank:
        assert await authorize(bank, "tok_poor_1") == {"outcome": "refused", "reason": "insufficient_funds"}
    async with open_bank(tmp_path, slow_s=0) as bank:
        assert await authorize(bank, "tok_poor_1") == {"outcome": "refused", "reason": "insufficient_funds"}
    assert stat.S_IMODE((tmp_path / "bank.db").stat().st_mode) == 0o600


async def test_lost_answer_comes_the_second_time_and_charges_once(bank: Endpoints, tmp_path: Path) -> None:
    assert await authorize(bank, "tok_lost_1") is None
    assert await authorize(bank, "tok_lost_1") == DONE
    assert await ask(bank, "capture", "k-2", payment_id="pay-1", amount=TOTAL) is None
    assert await ask(bank, "capture", "k-2", payment_id="pay-1", amount=TOTAL) == DONE
    assert balance(tmp_path, "tok_lost_1") == (OPENING_MINOR - 4200, 0)


async def test_slow_token_keeps_nobody_else_waiting(bank: Endpoints) -> None:
    asked_at = time.monotonic()
    slow = asyncio.ensure_future(authorize(bank, "tok_slow_1"))
    assert await authorize(bank, "tok_ok_1", payment="pay-2", key="k-2") == DONE
    assert not slow.done()
    assert await slow == DONE
    assert time.monotonic() - asked_at >= SLOW_S


async def test_look_up_tells_what_was_answered_and_does_nothing(bank: Endpoints) -> None:
    assert await ask(bank, "lookup", "k-authorize") == {"found": False}
    await authorize(bank, "tok_ok_1")
    assert await ask(bank, "lookup", "k-authorize") == {"found": True, "operation": "authorize", "answer": DONE}


GOOD_KEY = {"Idempotency-Key": "k-1"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b'{"payment_id": "pay-1"}'),
        ({"Idempotency-Key": ""}, b'{"payment_id": "pay-1"}'),
        ({"Idempotency-Key": "k" * 256}, b'{"payment_id": "pay-1"}'),
        (GOOD_KEY, b""),
        (GOOD_KEY, b"not JSON"),
        (GOOD_KEY, b"\xff\xfe"),
        (GOOD_KEY, b"[]"),
        (GOOD_KEY, b"{}"),
        (GOOD_KEY, b'{"payment_id": 1}'),
        (GOOD_KEY, b'{"payment_id": ""}'),
        (GOOD_KEY, b'{"payment_id": "pay-1", "payment_id": "pay-2"}'),
        (GOOD_KEY, b'{"payment_id": "pay-1", "surprise": NaN}'),
        (GOOD_KEY, b'{"payment_id": "pay-1", "surprise": 1}'),
        (GOOD_KEY, b'{"payment_id": ' + 100_000 * b"[" + b"}"),
        (GOOD_KEY, b'{"payment_id": "' + 70_000 * b"p" + b'"}'),
    ],
    ids=range(15),
)
async def test_bad_request_is_answered_with_what_is_wrong(
    bank: Endpoints, headers: dict[str, str], body: bytes
) -> None:
    answer = await put(bank, "void", headers, body)
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == "400"
    assert await ask(bank, "lookup", "k-1") == {"found": False}


@pytest.mark.parametrize("minor", [-1, 10**12 + 1, 1.5, "4200", None])
async def test_amount_out_of_range_is_a_bad_request(bank: Endpoints, minor: object) -> None:
    body = {"payment_id": "pay-1", "method_token": "tok_ok_1", "amount": {"amount_minor": minor, "currency": "EUR"}}
    answer = await put(bank, "authorize", GOOD_KEY, msgspec.json.encode(body))
    assert answer is not None
    assert answer.error is not None
    assert answer.error[0] == "400"


async def test_balances_add_up_after_a_thousand_requests(bank: Endpoints, tmp_path: Path) -> None:
    """They arrive together, so they also share a handful of transactions."""

    async def shop(number: int) -> None:
        token, payment = f"tok_ok_{number % 7}", f"pay-{number}"
        await authorize(bank, token, payment, f"a-{number}")
        if number % 3 == 0:
            await ask(bank, "void", f"v-{number}", payment_id=payment)
        else:
            await ask(bank, "capture", f"c-{number}", payment_id=payment, amount=TOTAL)
        if number % 3 == 1:
            await ask(bank, "refund", f"r-{number}", payment_id=payment, amount=TOTAL)

    await asyncio.gather(*(shop(number) for number in range(400)))
    books = ledger(tmp_path)
    assert list(problems_of(books)) == []
    assert sum(balance.held_minor for balance in books.balances.values()) == 0
    assert balance(tmp_path, "merchant").minor == 4200 * sum(number % 3 == 2 for number in range(400))


@pytest.fixture
async def at_work(account_url: str, tmp_path: Path) -> AsyncIterator[tuple[Worker, JetStream]]:
    """The bank's process, and a connection to ask it."""
    environ = environment(account_url, tmp_path, log_format="json")
    await apply_streams(ConnectionOptions(servers=(account_url,)), Settings())
    bank = await spawn_ready("bank", ("contexts.bank",), environ, tmp_path / "bank.log", tmp_path / "bank.sock")
    broker = await connect(ConnectionOptions(servers=(account_url,)), name="tests")
    try:
        with anyio.fail_after(WITHIN_S):
            while not await is_reached(broker):
                pass
        yield bank, broker
    finally:
        await broker.close()
        await bank.kill()


async def is_reached(broker: JetStream) -> bool:
    """Whether the server knows of the bank already; the bank is ready a moment before."""
    try:
        await broker.request("svc.bank.lookup", b"", {"Idempotency-Key": "k-0"}, WITHIN_S)
    except BrokerUnavailableError:
        return False
    return True


async def void_of(broker: JetStream, key: str) -> Mapping[str, str]:
    body = b'{"payment_id": "pay-1"}'
    headers, _ = await broker.request("svc.bank.void", body, {"Idempotency-Key": key}, WITHIN_S)
    return headers


async def test_bank_whose_books_are_replaced_stops_before_it_answers_anything_more(
    at_work: tuple[Worker, JetStream], tmp_path: Path
) -> None:
    bank, broker = at_work
    assert "Nats-Service-Error" not in await void_of(broker, "k-1")
    (tmp_path / "bank.db").rename(tmp_path / "away.db")
    headers = await void_of(broker, "k-2")
    assert headers["Nats-Service-Error-Code"] == "503"
    assert "ask again with the same Idempotency-Key" in headers["Nats-Service-Error"]
    assert await bank.ended() == Exit.MISCONFIGURED
    assert "bank.db: removed while this process had it open" in bank.tail
    with closing(sqlite3.connect(tmp_path / "away.db")) as books:
        assert books.execute("SELECT idempotency_key FROM answers").fetchall() == [("k-1",)]


async def test_bank_whose_books_are_locked_raises_an_alarm_until_it_can_write_again(
    at_work: tuple[Worker, JetStream], tmp_path: Path
) -> None:
    _, broker = at_work

    def alarms() -> list[str]:
        (process,) = live_processes(tmp_path)
        return [alarm["subject"] for alarm in process.report.alarms] if process.report else []

    with closing(sqlite3.connect(tmp_path / "bank.db", isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        assert "database is locked" in (await void_of(broker, "k-1"))["Nats-Service-Error"]
        await until(lambda: alarms() == ["bank.db"])
        another.execute("ROLLBACK")
    assert "Nats-Service-Error" not in await void_of(broker, "k-1")
    await until(lambda: alarms() == [])
