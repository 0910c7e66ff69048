"""Reads the bank's books from its journal: what moved for payments, and every entry of every account."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

OUTSIDE = ""
"""The other side of an entry whose money comes from outside the bank, or leaves it."""
ENTRIES = ("AccountOpened", "Deposited", "Withdrawn", "MoneyTransferred")
MOVED = {"HoldCaptured": "capture", "CaptureRefunded": "refund"}


class Moved(NamedTuple):
    """A `capture` or a `refund` of a payment."""

    payment_id: str
    reason: str
    currency: str
    amount_minor: int


class Entry(NamedTuple):
    """The change of one account's balance by one event."""

    account: str
    other_side: str
    reference: str
    currency: str
    minor: int


class Balance(NamedTuple):
    """An account's money in one currency."""

    minor: int
    held_minor: int


class Ledger(NamedTuple):
    """All of it; balances are those of the snapshots, by (account, currency)."""

    moved: list[Moved]
    entries: list[Entry]
    balances: dict[tuple[str, str], Balance]

    def reasons(self, payment_id: str) -> list[str]:
        """Why money of a payment moved: `capture`, `refund`, in the order in which it did."""
        return [one.reason for one in self.moved if one.payment_id == payment_id]

    def held_minor(self, account: str) -> int:
        """The amount on hold on an account."""
        return sum(balance.held_minor for (of, _), balance in self.balances.items() if of == account)


def read_ledger(database: sqlite3.Connection) -> Ledger:
    """The books in one read transaction or more: the caller's."""
    kinds = ", ".join(f"'{kind}'" for kind in (*ENTRIES, *MOVED))
    rows = database.execute(f"SELECT type, body FROM journal WHERE type IN ({kinds}) ORDER BY n").fetchall()
    states = database.execute("SELECT id, state FROM aggregates WHERE id GLOB 'account-*'").fetchall()
    events = [(kind, json.loads(body)) for kind, body in rows]
    moved = [
        Moved(body["payment_id"], MOVED[kind], body["amount"]["currency"], body["amount"]["amount_minor"])
        for kind, body in events
        if kind in MOVED
    ]
    entries = [_entry(kind, body) for kind, body in events if kind in ENTRIES]
    accounts = {identity.removeprefix("account-"): json.loads(state) for identity, state in states}
    balances = {
        (account, currency): Balance(minor, state["held"].get(currency, 0))
        for account, state in accounts.items()
        for currency, minor in state["balances"].items()
    }
    return Ledger(moved, entries, balances)


def problems_of(ledger: Ledger) -> Iterable[tuple[str, str]]:
    """(account or reference, problem) wherever the double entry or a balance does not hold."""
    sums: Counter[tuple[str, str]] = Counter()
    transfers: Counter[tuple[str, str]] = Counter()
    for entry in ledger.entries:
        sums[entry.account, entry.currency] += entry.minor
        if entry.other_side != OUTSIDE:
            transfers[entry.reference, entry.currency] += entry.minor
    for (reference, currency), minor in transfers.items():
        if minor:
            yield reference, f"{minor} {currency} came from nowhere"
    for (account, currency), balance in ledger.balances.items():
        if balance.minor != sums[account, currency]:
            yield account, f"its balance is {balance.minor}, and its entries come to {sums[account, currency]}"
        if not 0 <= balance.held_minor <= balance.minor:
            yield account, f"holds {balance.held_minor} of {balance.minor}"
    if missing := {place for place, minor in sums.items() if minor} - set(ledger.balances):
        yield str(sorted(missing)), "has entries and no balance"
    for currency in {currency for _, currency in sums}:
        kept = sum(balance.minor for (_, of), balance in ledger.balances.items() if of == currency)
        came_in = sum(e.minor for e in ledger.entries if e.other_side == OUTSIDE and e.currency == currency)
        if kept != came_in:
            yield currency, f"the balances come to {kept}, and {came_in} came in from outside"


def _entry(kind: str, body: dict[str, object]) -> Entry:
    amount = body["amount"]
    assert isinstance(amount, dict)
    minor, currency, account = amount["amount_minor"], amount["currency"], str(body["account_id"])
    reference = str(body.get("reference", ""))
    if kind != "MoneyTransferred":
        return Entry(account, OUTSIDE, reference, currency, -minor if kind == "Withdrawn" else minor)
    if account == body["source"]:
        return Entry(account, str(body["target"]), reference, currency, -minor)
    return Entry(account, str(body["source"]), reference, currency, minor)
