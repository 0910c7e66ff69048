"""The bank's counter and its books, one SQLite file: same key, same answer, and no amount comes from nowhere.

Requests that arrive together share one transaction, and are answered after it is on disk.
"""

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import anyio
import msgspec

from contexts.bank.commands import Authorize, BankRequest, Found, Verify
from contexts.bank.decider import MERCHANT, MINT, Decision, Payment, decide
from contexts.kernel import MINOR_UNITS_AT_MOST
from shared.adapters.sqlite.database import Database
from shared.batching import Batcher
from shared.context import Answer, Request
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.wire.bodies import BodyDecoder, MalformedBodyError
from shared.wire.messages import NEVER, check_message_id, content_hash

WAITING_AT_MOST = 10_000
BATCH_AT_MOST = 1_000

OPENING_MINOR = MINOR_UNITS_AT_MOST
"""The balance of an account whose token is seen for the first time: enough for any one order."""

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE accounts (
  account_id TEXT NOT NULL,
  currency TEXT NOT NULL,
  balance_minor INTEGER NOT NULL DEFAULT 0,
  held_minor INTEGER NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
  PRIMARY KEY (account_id, currency),
  CHECK (account_id = 'mint' OR balance_minor >= held_minor)
) STRICT, WITHOUT ROWID;
CREATE TABLE payments (
  payment_id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('REFUSED', 'HELD', 'VOIDED', 'CAPTURED', 'REFUNDED')),
  account_id TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
  refunds_refused INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE ledger (
  entry INTEGER PRIMARY KEY,
  payment_id TEXT NOT NULL,
  reason TEXT NOT NULL CHECK (reason IN ('opening', 'capture', 'refund')),
  from_account TEXT NOT NULL,
  to_account TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0)
) STRICT;
CREATE TABLE answers (
  idempotency_key TEXT PRIMARY KEY,
  operation TEXT NOT NULL,
  request_hash BLOB NOT NULL,
  answer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""


class Asked(NamedTuple):
    """A request as it came over the counter."""

    idempotency_key: str
    operation: str
    request: BankRequest


class Answered(NamedTuple):
    """The answer in the books; `first` when it is given for the first time. `method_token` pays the payment."""

    answer: bytes
    first: bool
    method_token: str


class OtherContent(NamedTuple):
    """The key was used for another request before."""


class Counter:
    """Collects the requests that arrive during a transaction, and answers them together in the next one."""

    def __init__(self, books: Database, slow_s: float) -> None:
        self._books = books
        self._slow_s = slow_s
        self._requests = Batcher(self._answer_together, batch_at_most=BATCH_AT_MOST, waiting_at_most=WAITING_AT_MOST)

    async def answer(self, operation: str, decoder: BodyDecoder[BankRequest], request: Request) -> Answer | None:
        """Answer one request; None when the answer is lost on the way. An answer names what is wrong with its request.

        Raises:
            DatabaseBusyError, DatabaseError: the books cannot be used, which concerns every request.
        """
        try:
            key = check_message_id(request.headers.get("Idempotency-Key", ""))
            asked = Asked(key, operation, decoder.decode(request.body, key="", at=NEVER))
            answered = await self._requests.put(asked)
        except MalformedBodyError as malformed:
            return Answer(error=("400", str(malformed)))
        except ValueError as no_key:
            return Answer(error=("400", f"Idempotency-Key: {no_key}"))
        except (DatabaseBusyError, DatabaseError):
            raise
        except Exception as trouble:
            return Answer(error=("503", f"ask again with the same key: {trouble}"))
        if isinstance(answered, OtherContent):
            return Answer(error=("409", f"{key} was used for another request; use a new key"))
        if answered.first and answered.method_token.startswith("tok_lost"):
            return None
        if answered.first and answered.method_token.startswith("tok_slow"):
            await anyio.sleep(self._slow_s)
        return Answer(body=answered.answer)

    async def look_up(self, request: Request) -> Answer | None:
        """Return the answer that the key had before, without any effect; raises as `answer` does."""
        key = request.headers.get("Idempotency-Key", "")
        try:
            return Answer(body=_encode(await self._books.read(partial(_look_up, idempotency_key=key))))
        except (DatabaseBusyError, DatabaseError):
            raise
        except Exception as trouble:
            return Answer(error=("503", f"the books cannot be read: {trouble}"))

    async def close(self) -> None:
        """Answer the requests that still wait."""
        await self._requests.close()

    async def _answer_together(self, batch: Sequence[Asked]) -> list[Answered | OtherContent]:
        return await self._books.transact(lambda books: [_answer(books, asked) for asked in batch])


def _answer(books: sqlite3.Connection, asked: Asked) -> Answered | OtherContent:
    content = content_hash(asked.operation.encode() + _encode(asked.request))
    known = books.execute(
        "SELECT request_hash, answer FROM answers WHERE idempotency_key = ?", (asked.idempotency_key,)
    ).fetchone()
    if known is not None:
        if known[0] != content:
            return OtherContent()
        return Answered(known[1], False, "")
    decision = _obey(books, asked.request)
    answer = _encode(decision.outcome)
    books.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (asked.idempotency_key, asked.operation, content, answer))
    return Answered(answer, True, decision.payment.account_id)


def _look_up(books: sqlite3.Connection, idempotency_key: str) -> Found:
    row = books.execute(
        "SELECT operation, answer FROM answers WHERE idempotency_key = ?", (idempotency_key,)
    ).fetchone()
    return Found(found=False) if row is None else Found(found=True, operation=row[0], answer=msgspec.Raw(row[1]))


def _obey(books: sqlite3.Connection, request: BankRequest) -> Decision:
    if isinstance(request, Verify):
        return decide(request, Payment(account_id=request.method_token), 0)
    row = books.execute(
        "SELECT state, account_id, currency, amount_minor, refunds_refused FROM payments WHERE payment_id = ?",
        (request.payment_id,),
    ).fetchone()
    payment = Payment() if row is None else Payment(*row)
    available_minor = 0
    if isinstance(request, Authorize):
        available_minor = _available(books, request.method_token, request.amount.currency)
    decision = decide(request, payment, available_minor)
    if decision.payment != payment:
        books.execute("REPLACE INTO payments VALUES (?, ?, ?, ?, ?, ?)", (request.payment_id, *decision.payment))
    _, account, currency, *_ = decision.payment
    if decision.held_more_minor:
        books.execute(
            "UPDATE accounts SET held_minor = held_minor + ? WHERE account_id = ? AND currency = ?",
            (decision.held_more_minor, account, currency),
        )
    if decision.paid_minor > 0:
        _move(books, request.payment_id, "capture", account, MERCHANT, currency, decision.paid_minor)
    elif decision.paid_minor < 0:
        _move(books, request.payment_id, "refund", MERCHANT, account, currency, -decision.paid_minor)
    return decision


def _available(books: sqlite3.Connection, account: str, currency: str) -> int:
    """The amount that the account can still pay; a new account is opened with money from the mint."""
    row = books.execute(
        "SELECT balance_minor - held_minor FROM accounts WHERE account_id = ? AND currency = ?", (account, currency)
    ).fetchone()
    if row is not None:
        return int(row[0])
    opening_minor = 0 if account.startswith("tok_poor") or account in (MINT, MERCHANT) else OPENING_MINOR
    books.executemany(
        "INSERT INTO accounts (account_id, currency) VALUES (?, ?) ON CONFLICT DO NOTHING",
        ((account, currency), (MERCHANT, currency), (MINT, currency)),
    )
    _move(books, "", "opening", MINT, account, currency, opening_minor)
    return opening_minor


def _move(
    books: sqlite3.Connection, payment_id: str, reason: str, source: str, target: str, currency: str, minor: int
) -> None:
    books.executemany(
        "UPDATE accounts SET balance_minor = balance_minor + ? WHERE account_id = ? AND currency = ?",
        ((-minor, source, currency), (minor, target, currency)),
    )
    books.execute(
        "INSERT INTO ledger (payment_id, reason, from_account, to_account, currency, amount_minor)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (payment_id, reason, source, target, currency, minor),
    )


_encode = msgspec.json.Encoder().encode
