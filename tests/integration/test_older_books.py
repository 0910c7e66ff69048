"""The bank takes over the books of the release before, which had tables of its own, once and without a loss."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from contexts.bank.older_books import take_over_older_books
from contexts.bank.settings import BankSettings
from contexts.bank.worker import context
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.schema import APPLICATION_ID
from shared.endpoint import Request
from shared.engine.recover.snapshots import ensure_snapshots
from shared.ports.store import DatabaseBusyError
from shared.wire.messages import content_hash
from tests.integration.bank import PARTITIONS, open_bank
from tests.ledger import Balance, problems_of, read_ledger

OLDER = """
CREATE TABLE accounts (account_id TEXT NOT NULL, currency TEXT NOT NULL, balance_minor INTEGER NOT NULL DEFAULT 0,
  held_minor INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (account_id, currency)) STRICT, WITHOUT ROWID;
CREATE TABLE payments (payment_id TEXT PRIMARY KEY, state TEXT NOT NULL, account_id TEXT NOT NULL,
  currency TEXT NOT NULL, amount_minor INTEGER NOT NULL, refunds_refused INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (entry INTEGER PRIMARY KEY, payment_id TEXT NOT NULL, reason TEXT NOT NULL,
  from_account TEXT NOT NULL, to_account TEXT NOT NULL, currency TEXT NOT NULL, amount_minor INTEGER NOT NULL) STRICT;
CREATE TABLE answers (idempotency_key TEXT PRIMARY KEY, operation TEXT NOT NULL, request_hash BLOB NOT NULL,
  answer BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO accounts VALUES ('mint', 'EUR', -2000000000000, 0), ('merchant', 'EUR', 2000000000500, 0),
  ('merchant', 'USD', 7, 0), ('tok_ok', 'EUR', 999, 300), ('tok ok', 'EUR', 1, 0);
INSERT INTO payments VALUES ('pay-refused', 'REFUSED', 'tok_poor', 'EUR', 5, 0),
  ('pay-held', 'HELD', 'tok_ok', 'EUR', 300, 0),
  ('pay-voided', 'VOIDED', 'tok_ok', 'EUR', 5, 0), ('pay-never', 'VOIDED', '', '', 0, 0),
  ('pay-captured', 'CAPTURED', 'tok_norefund', 'EUR', 5, 2), ('pay-refunded', 'REFUNDED', 'tok_ok', 'EUR', 5, 0);
"""
HELD = b'{"payment_id":"pay-held","method_token":"tok_ok","amount":{"amount_minor":300,"currency":"EUR"}}'
DONE = b'{"outcome":"done"}'


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "bank.db", isolation_level=None)) as books:
        books.execute("PRAGMA journal_mode = WAL")
        books.executescript(f"{OLDER}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
        hashed = content_hash(b"authorize" + HELD)
        books.execute("INSERT INTO answers VALUES ('k-held', 'authorize', ?, ?)", (hashed, DONE))
    return tmp_path


async def taken_over(directory: Path) -> None:
    await take_over_older_books(directory, PARTITIONS)
    store = await SqliteDatabases(directory).open("bank")
    await ensure_snapshots(store, context(BankSettings()))
    await store.close()


def set_aside(directory: Path) -> list[Path]:
    return list(directory.glob("bank.db.*.aside"))


async def test_accounts_and_payments_are_there_and_no_money_is_lost(older: Path) -> None:
    await taken_over(older)
    with closing(sqlite3.connect(older / "bank.db")) as database:
        ledger = read_ledger(database)
        statuses = dict(
            database.execute("SELECT id, json_extract(state, '$.status') FROM aggregates WHERE id LIKE 'hold-%'")
        )
    assert list(problems_of(ledger)) == []
    assert ledger.balances["merchant", "EUR"] == Balance(2_000_000_000_500, 0)
    assert ledger.balances["merchant", "USD"] == Balance(7, 0)
    assert ledger.balances["tok_ok", "EUR"] == Balance(999, 300)
    assert statuses == {
        "hold-pay-refused": "REFUSED",
        "hold-pay-held": "HELD",
        "hold-pay-voided": "VOIDED",
        "hold-pay-never": "VOIDED",
        "hold-pay-captured": "CAPTURED",
        "hold-pay-refunded": "REFUNDED",
    }


async def test_payments_go_on_and_old_keys_have_their_answers(older: Path) -> None:
    await taken_over(older)
    async with open_bank(older, slow_s=0) as bank:

        async def ask(operation: str, key: str, body: bytes) -> bytes:
            answer = await bank[f"svc.bank.{operation}"](Request({"Idempotency-Key": key}, body))
            assert answer is not None
            return answer.body if answer.error is None else answer.error[0].encode()

        assert await ask("authorize", "k-held", HELD) == DONE
        assert await ask("authorize", "k-held", HELD.replace(b"300", b"301")) == b"409"
        amount = {"amount_minor": 300, "currency": "EUR"}
        assert await ask("capture", "k-2", msgspec.json.encode({"payment_id": "pay-held", "amount": amount})) == DONE
        refund = msgspec.json.encode({"payment_id": "pay-captured", "amount": {**amount, "amount_minor": 5}})
        assert await ask("refund", "k-3", refund) == DONE, "it was refused twice before"


async def test_old_file_is_set_aside_and_taken_over_once(older: Path) -> None:
    await taken_over(older)
    await taken_over(older)
    (aside,) = set_aside(older)
    with closing(sqlite3.connect(aside)) as database:
        assert database.execute("SELECT count(*) FROM payments").fetchone() == (6,)


async def test_books_that_a_process_has_open_are_left_alone(older: Path) -> None:
    with closing(sqlite3.connect(older / "bank.db", isolation_level=None)) as running:
        running.execute("BEGIN")
        running.execute("SELECT * FROM accounts").fetchall()
        with pytest.raises(DatabaseBusyError, match="a process has it open"):
            await take_over_older_books(older, PARTITIONS)
    assert set_aside(older) == []
