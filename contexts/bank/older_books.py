"""Takes over the books that the bank kept in tables of its own before it had a journal.

Each account is opened with its balance, each payment gets the events that lead to its state, and every answer is kept
under its key. The old file is set aside, not deleted. A rebuild from EVENTS has the accounts and the payments again,
but not the answers of before, whose requests no event names.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import structlog
from msgspec import Struct

from contexts.bank.commands import AccountId
from contexts.bank.endpoints import account_of, payment_of
from contexts.bank.events import (
    AccountOpened,
    AmountHeld,
    Balance,
    BankRequestRefused,
    CaptureRefunded,
    Deposited,
    HoldCaptured,
    HoldPlaced,
    HoldVoided,
)
from contexts.kernel import MINOR_UNITS_AT_MOST, Money
from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.reading import open_read_only
from shared.adapters.sqlite.replace import Replacement, replacing
from shared.engine.decide.outgoing import OutgoingRows
from shared.engine.route.incoming import IGNORE, Incoming
from shared.ports.rows import AnswerRow, EffectRow, JournalRow
from shared.ports.store import DatabaseBusyError, DatabaseError, Transaction
from shared.wire.messages import aggregate_id

SOURCE = "books-of-an-older-release"
"""The Causation-Id of the events that were made of the older books."""

NO_EFFECT = EffectRow(0, SOURCE, "", 0, 0, "", {}, b"")
OLDER_TABLES = {"accounts", "payments", "ledger", "answers"}

_log = structlog.get_logger("chorus.bank")


async def take_over_older_books(directory: Path, partitions: int) -> None:
    """Replace an older `bank.db` by one with a journal of the same accounts, payments and answers.

    Raises:
        DatabaseBusyError: a process has the older books open; try again when it has stopped.
    """
    path = directory / "bank.db"
    if not _is_older(path):
        return
    try:
        with replacing(path) as replacement:
            if replacement.old is None or not _tables(replacement.old) >= OLDER_TABLES:
                return  # Another process has just taken them over.
            aside = await _take_over(replacement, replacement.old, partitions)
    except DatabaseError as error:
        raise DatabaseBusyError(str(error)) from error
    _log.warning("took over the books of an older release", set_aside=str(aside))


async def _take_over(replacement: Replacement, old: sqlite3.Connection, partitions: int) -> Path | None:
    rows = list(_rows(old, partitions))
    answers = [
        AnswerRow(*row) for row in old.execute("SELECT idempotency_key, operation, request_hash, answer FROM answers")
    ]

    def write(transaction: Transaction) -> None:
        transaction.append(rows)
        transaction.add_answers(answers)

    store = await SqliteStore.open(replacement.new, context="bank")
    try:
        await store.transact(write)
    finally:
        await store.close()
    return replacement.put_in_place()


def _is_older(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with closing(open_read_only(path)) as database:
            return _tables(database) >= OLDER_TABLES
    except sqlite3.Error:  # Opening it for good tells the fault.
        return False


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _rows(old: sqlite3.Connection, partitions: int) -> Iterator[JournalRow]:
    outgoing = OutgoingRows("bank", schema_version=1, partitions=partitions, now=SystemClock().now())
    versions: dict[str, int] = defaultdict(int)

    def row(aggregate: str, key: str, event: Struct) -> JournalRow:
        identity = aggregate_id(aggregate, key)
        versions[identity] += 1
        cause = Incoming("", 0, key, SOURCE, "", b"", key, 0, NO_EFFECT, IGNORE)
        return outgoing.event(cause, event, identity, key, versions[identity])

    for account_id, event in _account_events(old):
        yield row("account", account_id, event)
    for payment_id, event in _payment_events(old):
        yield row("hold", payment_id, event)


def _account_events(old: sqlite3.Connection) -> Iterator[tuple[str, Struct]]:
    opened: set[str] = set()
    balances = "SELECT account_id, currency, balance_minor FROM accounts WHERE account_id <> 'mint' ORDER BY 1, 2"
    for token, currency, balance_minor in old.execute(balances):
        account_id, booked_minor = account_of(token), 0
        if account_id not in opened:
            opened.add(account_id)
            booked_minor = min(balance_minor, MINOR_UNITS_AT_MOST)
            amount = _amount(booked_minor, currency)
            balance = Balance(amount_minor=booked_minor, currency=currency)
            yield account_id, AccountOpened(account_id=account_id, owner="", amount=amount, balance=balance)
        while booked_minor < balance_minor:  # No single amount may be larger than MINOR_UNITS_AT_MOST.
            amount = _amount(min(balance_minor - booked_minor, MINOR_UNITS_AT_MOST), currency)
            booked_minor += amount.amount_minor
            balance = Balance(amount_minor=booked_minor, currency=currency)
            deposited = Deposited(
                account_id=account_id, amount=amount, reference=SOURCE, balance_minor=booked_minor, balance=balance
            )
            yield account_id, deposited
    held: dict[tuple[str, str], int] = defaultdict(int)
    payments = "SELECT payment_id, account_id, currency, amount_minor FROM payments WHERE state = 'HELD' ORDER BY 1"
    for payment, token, currency, minor in old.execute(payments):
        account_id = account_of(token)
        held[account_id, currency] += minor
        yield (
            account_id,
            AmountHeld(
                account_id=account_id,
                payment_id=payment_of(payment),
                amount=_amount(minor, currency),
                held_minor=held[account_id, currency],
            ),
        )


def _payment_events(old: sqlite3.Connection) -> Iterator[tuple[str, Struct]]:
    payments = "SELECT payment_id, state, account_id, currency, amount_minor, refunds_refused FROM payments ORDER BY 1"
    for payment, state, token, currency, minor, refunds_refused in old.execute(payments):
        payment_id = payment_of(payment)
        account_id = account_of(token) if token else AccountId("")
        refused = partial(BankRequestRefused, payment_id=payment_id, account_id=account_id)
        events: list[Struct] = []
        if state == "REFUSED":
            events.append(refused(operation="authorize", reason="not_possible"))
        elif token:
            amount = _amount(minor, currency)
            events.append(HoldPlaced(payment_id=payment_id, account_id=account_id, amount=amount))
            if state in ("CAPTURED", "REFUNDED"):
                events.append(HoldCaptured(payment_id=payment_id, account_id=account_id, amount=amount))
            events += [refused(operation="refund", reason="refund_refused") for _ in range(refunds_refused)]
            if state == "REFUNDED":
                events.append(
                    CaptureRefunded(payment_id=payment_id, account_id=account_id, amount=amount, refunded_minor=minor)
                )
        if state == "VOIDED":
            events.append(HoldVoided(payment_id=payment_id, account_id=account_id))
        yield from ((payment_id, event) for event in events)


def _amount(minor: int, currency: str) -> Money:
    return Money(amount_minor=minor, currency=currency)
