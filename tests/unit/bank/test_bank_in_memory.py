"""The bank in memory: commands and requests in one order, decided by any of its processes, once for ever."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import pytest

from contexts.bank.commands import Deposit, OpenAccount, Some, Transfer, Withdraw
from contexts.bank.settings import BankSettings
from contexts.bank.worker import context
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.reading import open_read_only
from shared.derived.topology import declare
from shared.ports.broker import BrokerUnavailableError
from shared.ports.store import DatabaseError
from shared.repair.rebuild import rebuild
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import CAUSATION_ID, partition_of
from tests.ledger import Ledger, problems_of, read_ledger

ANN, BOB, CAT = "account-123", "account-456", "account-789"
EUR = "EUR"
DONE: Mapping[str, str] = {"outcome": "done"}
SHORT: Mapping[str, str] = {"outcome": "refused", "reason": "insufficient_funds"}
SEEDS = range(12)
OLDER = r"EVENTS has bank/\S+, which this database does not know: it is new or an older copy"


@pytest.fixture
def bank() -> Iterator[Simulation]:
    with simulation(seed=1, at_work=["bank"], partitions=2) as running:
        open_accounts(running)
        yield running


def open_accounts(running: Simulation) -> None:
    """Ann has 1000, and Bob nothing."""
    running.send(OpenAccount(owner="Ann"), key=ANN)
    running.send(OpenAccount(owner="Bob"), key=BOB)
    running.send(Deposit(amount=Some(amount_minor=1000), reference="salary"), key=ANN)
    running.run_until_quiet()


def withdraw(running: Simulation, minor: int, reference: str, key: str = ANN) -> None:
    running.send(Withdraw(amount=Some(amount_minor=minor), reference=reference), key=key)


def asking(running: Simulation, operation: str, key: str, **body: Any) -> Any:
    return running.asking(f"svc.bank.{operation}", json.dumps(body).encode(), {"Idempotency-Key": key})


def ask(running: Simulation, operation: str, key: str, **body: Any) -> Any:
    headers, answer = running.run(asking(running, operation, key, **body))
    return headers.get("Nats-Service-Error-Code") or json.loads(answer)


def of_ann(minor: int, payment: str = "p-1") -> dict[str, Any]:
    return {"payment_id": payment, "method_token": ANN, "amount": {"amount_minor": minor}}


def ledger(running: Simulation) -> Ledger:
    """The books, in which nothing may be out of balance."""
    with closing(open_read_only(running.directory / "bank.db")) as database:
        books = read_ledger(database)
    assert list(problems_of(books)) == []
    return books


def balance(running: Simulation, account: str = ANN) -> tuple[int, int]:
    minor, held_minor = ledger(running).balances[account, EUR]
    return minor, held_minor


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_withdrawals_at_once_the_account_pays_the_one_that_it_covers(seed: int) -> None:
    with simulation(seed=seed, at_work=["bank"], partitions=2) as running:
        open_accounts(running)
        withdraw(running, 700, "rent")
        withdraw(running, 600, "car")
        running.run_until_quiet()
        said = [fact for fact in running.facts(ANN) if fact.startswith("Withdraw")]
        assert sorted(said) == ["WithdrawalRejected", "Withdrawn"]
        assert balance(running)[0] in (300, 400)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_request_and_a_command_race_for_the_same_money(seed: int) -> None:
    with simulation(seed=seed, at_work=["bank"], partitions=2) as running:
        open_accounts(running)
        withdraw(running, 700, "rent")
        answer = ask(running, "authorize", "k-1", **of_ann(600))
        running.run_until_quiet()
        if answer == DONE:
            assert balance(running) == (1000, 600)
            assert "WithdrawalRejected" in running.facts(ANN)
        else:
            assert answer == SHORT
            assert balance(running) == (300, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_processes_hold_the_same_money_once(seed: int) -> None:
    """Each owns a partition, either may have any request, and the owners publish the events."""
    with simulation(seed=seed, at_work=[], partitions=2) as running:
        running.start("bank", partitions=[0])
        running.start("bank", partitions=[1])
        running.run_until_quiet()
        open_accounts(running)

        async def at_once() -> list[Any]:
            asked = (asking(running, "authorize", f"k-{n}", **of_ann(400, f"p-{n}")) for n in range(6))
            return [json.loads(answer) for _, answer in await asyncio.gather(*asked)]

        answers = running.run(at_once())
        assert sorted(map(str, answers)) == sorted(map(str, [DONE, DONE, SHORT, SHORT, SHORT, SHORT]))
        running.advance(seconds=3)
        assert balance(running) == (1000, 800)
        published = running.rows("bank", "SELECT count(*) FROM journal WHERE published_seq IS NULL")
        assert published == [(0,)]


@pytest.mark.parametrize("seed", range(2))
def test_two_processes_book_on_one_account_from_two_keys_and_lose_nothing(seed: int) -> None:
    """Each decides the transfers of its own partition with the balance that the other one's leave."""
    assert {partition_of(key, 2) for key in (ANN, BOB)} == {0, 1}
    with simulation(seed=seed, at_work=[], partitions=2) as running:
        running.start("bank", partitions=[0])
        running.start("bank", partitions=[1])
        running.run_until_quiet()
        open_accounts(running)
        running.send(OpenAccount(owner="Cat"), key=CAT)
        running.send(Deposit(amount=Some(amount_minor=800), reference="salary"), key=BOB)
        running.run_until_quiet()
        before = len(running.facts(ANN))
        for n in range(8):
            running.send(Transfer(to=ANN, amount=Some(amount_minor=100), reference=f"in-{n}"), key=BOB)  # type: ignore[arg-type]
            running.send(Transfer(to=CAT, amount=Some(amount_minor=200), reference=f"out-{n}"), key=ANN)  # type: ignore[arg-type]
        running.run_until_quiet()
        booked = [json.loads(one.body)["reference"] for one in running.events(ANN)[before:] if "Transfer" in one.type]
        directions = [reference.partition("-")[0] for reference in booked]
        assert directions not in (sorted(directions), sorted(directions, reverse=True)), "they did not race"
        out = len([one for one in running.facts(ANN) if one == "MoneyTransferred"]) - 8
        assert (balance(running), balance(running, BOB), balance(running, CAT)) == (
            (1800 - 200 * out, 0),
            (0, 0),
            (200 * out, 0),
        )


def test_a_process_that_owns_no_partition_answers_and_the_owner_publishes(bank: Simulation) -> None:
    bank.start("bank", partitions=[])
    for n in range(8):
        assert ask(bank, "authorize", f"k-{n}", **of_ann(10, f"p-{n}")) == DONE
    bank.advance(seconds=3)
    assert bank.facts(ANN).count("AmountHeld") == 8
    assert bank.rows("bank", "SELECT count(*) FROM journal WHERE published_seq IS NULL") == [(0,)]


def test_same_key_at_once_has_one_effect_and_one_answer(bank: Simulation) -> None:
    async def at_once() -> list[bytes]:
        asked = (asking(bank, "authorize", "k-1", **of_ann(600)) for _ in range(5))
        return [answer for _, answer in await asyncio.gather(*asked)]

    assert set(bank.run(at_once())) == {b'{"outcome":"done"}'}
    assert balance(bank) == (1000, 600)
    assert ask(bank, "authorize", "k-1", **of_ann(601)) == "409"
    assert ask(bank, "void", "k-1", payment_id="p-1") == "409"


def test_answer_survives_kill_and_a_rebuild_from_the_stream(bank: Simulation) -> None:
    assert ask(bank, "authorize", "k-1", **of_ann(600)) == DONE
    assert ask(bank, "authorize", "k-2", **of_ann(600, "p-2")) == SHORT
    assert ask(bank, "void", "k-3", payment_id="p-never") == DONE
    bank.run_until_quiet()
    answers = bank.rows("bank", "SELECT * FROM answers ORDER BY 1")
    states = bank.rows("bank", "SELECT * FROM aggregates ORDER BY 1")
    bank.kill("bank")
    bank.start("bank")
    bank.run_until_quiet()
    assert ask(bank, "authorize", "k-2", **of_ann(600, "p-2")) == SHORT
    bank.stop("bank")
    broker = MemoryBroker(bank.server)
    databases = SqliteDatabases(bank.directory)
    bank.run(rebuild(context(BankSettings()), broker, databases, partitions=2, force=True))
    assert bank.rows("bank", "SELECT * FROM answers ORDER BY 1") == answers
    assert bank.rows("bank", "SELECT * FROM aggregates ORDER BY 1") == states
    bank.start("bank")
    bank.run_until_quiet()
    assert ask(bank, "authorize", "k-1", **of_ann(600)) == DONE
    assert ask(bank, "authorize", "k-1", **of_ann(1)) == "409"
    assert balance(bank) == (1000, 600)


def test_bank_whose_database_is_an_older_copy_says_so_and_decides_nothing(bank: Simulation) -> None:
    """R25: else it would give a payment that it has captured to the customer again."""
    bank.stop("bank")
    shutil.copy(bank.directory / "bank.db", bank.directory / "backup.db")
    bank.start("bank")
    bank.run_until_quiet()
    assert ask(bank, "authorize", "k-1", **of_ann(600)) == DONE
    bank.run_until_quiet()
    bank.stop("bank")
    for log in ("-wal", "-shm"):
        (bank.directory / f"bank.db{log}").unlink(missing_ok=True)
    shutil.copy(bank.directory / "backup.db", bank.directory / "bank.db")
    bank.start("bank")
    answers: list[str] = []
    with pytest.RaisesGroup(pytest.RaisesExc(DatabaseError, match=OLDER)):
        while True:
            with suppress(BrokerUnavailableError):
                answers.append(ask(bank, "void", f"k-{len(answers)}", payment_id="p-1"))
            bank.advance(seconds=0.001)
    assert [answer for answer in answers if answer != "503"] == [], "it says that it stops, or nothing"
    assert bank.rows("bank", "SELECT * FROM answers") == []


@pytest.mark.parametrize("missing_s", [0.0, 0.2, 0.3, 0.4, 2.0])
def test_events_that_were_lost_with_their_stream_are_published_again_in_order(
    bank: Simulation, missing_s: float
) -> None:
    """The bank hears no event, so no consumer on EVENTS tells it that the stream is another one."""
    for n in range(5):
        withdraw(bank, 10, f"before-{n}")
    bank.run_until_quiet()
    before = bank.facts(ANN)
    bank.server.delete_stream("EVENTS")
    if missing_s:
        withdraw(bank, 10, "meanwhile")
        bank.run(bank._world.clock.sleep(missing_s))
    bank.server.apply(declare(bank._world.topology, catalog.members(bank._world.settings).values()))
    bank.run(bank._world.clock.sleep(5))
    more = ["Withdrawn", "BookingRecorded"] if missing_s else []
    assert bank.facts(ANN) == [*before, *more]


def test_transfer_is_in_both_accounts_or_in_none(bank: Simulation) -> None:
    bank.send(Transfer(to=BOB, amount=Some(amount_minor=300), reference="gift"), key=ANN)  # type: ignore[arg-type]
    bank.send(Transfer(to=ANN, amount=Some(amount_minor=301), reference="back"), key=BOB)  # type: ignore[arg-type]
    bank.run_until_quiet()
    assert balance(bank)[0] + balance(bank, BOB)[0] == 1000
    assert bank.facts(ANN).count("MoneyTransferred") == bank.facts(BOB).count("MoneyTransferred") == 1
    assert bank.facts(BOB).count("WithdrawalRejected") == 1


def test_slow_bank_decides_at_once_and_answers_late(bank: Simulation) -> None:
    asked = {"payment_id": "p-1", "method_token": "tok_slow_1", "amount": {"amount_minor": 5}}
    with pytest.raises(BrokerUnavailableError):
        ask(bank, "authorize", "k-1", **asked)
    assert ask(bank, "lookup", "k-1") == {"found": True, "operation": "authorize", "answer": DONE}
    body = json.dumps(asked | {"payment_id": "p-2"}).encode()
    headers = {"Idempotency-Key": "k-2"}
    _, answer = bank.run(bank.asking("svc.bank.authorize", body, headers, within=timedelta(seconds=3)))
    assert json.loads(answer) == DONE


def test_bank_that_loses_answers_has_done_the_work(bank: Simulation) -> None:
    asked = {"payment_id": "p-1", "method_token": "tok_lost_1", "amount": {"amount_minor": 5}}
    with pytest.raises(BrokerUnavailableError):
        ask(bank, "authorize", "k-1", **asked)
    assert ask(bank, "authorize", "k-1", **asked) == DONE
    assert balance(bank, "tok_lost_1")[1] == 5


def test_events_name_the_request_that_they_answer_and_its_saga(bank: Simulation) -> None:
    headers = {"Idempotency-Key": "k-1", "Correlation-Id": "o-42", "Causation-Depth": "3"}
    bank.run(bank.asking("svc.bank.authorize", json.dumps(of_ann(600)).encode(), headers))
    (kept,) = bank.rows("bank", "SELECT headers FROM journal WHERE type = 'HoldPlaced'")
    said = json.loads(kept[0])
    assert (said[CAUSATION_ID], said["Causation-Subject"], said["Correlation-Id"]) == (
        "k-1",
        "svc.bank.authorize",
        "o-42",
    )
    assert said["Causation-Depth"] == "4"


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": "k 1"},
        {"Idempotency-Key": "k-1", "Correlation-Id": "a.b"},
        {"Idempotency-Key": "k-1", "Causation-Depth": "32"},
    ],
)
def test_malformed_header_is_a_bad_request(bank: Simulation, headers: Mapping[str, str]) -> None:
    told, _ = bank.run(bank.asking("svc.bank.void", b'{"payment_id": "p-1"}', headers))
    assert told["Nats-Service-Error-Code"] == "400"
    assert [name for name in headers if name in told["Nats-Service-Error"]]
