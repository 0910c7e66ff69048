"""`chorus show` reads an aggregate as of any version or time from a journal while workers run."""

import asyncio
import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contexts.ordering.events import DeliveryRecorded, OrderConfirmed, OrderEvent, OrderPlaced, ShipmentRecorded
from contexts.ordering.order import Order, evolve
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.virtual_time import VirtualLoop
from shared.ports.rows import JournalRow
from shared.ports.store import Transaction
from shared.wire.messages import OCCURRED_AT
from tests.contract.examples import example, examples
from tests.unit.shared.cli.test_cli import chorus

HISTORY: tuple[type[OrderEvent], ...] = (OrderPlaced, OrderConfirmed, ShipmentRecorded, DeliveryRecorded)
KINDS = ("stock", "reservation")
AT = "2026-11-21T09:00:0{}.000000Z"


def journal_of(key: str) -> list[JournalRow]:
    """The journal of an order, with the timer that it arms and a rejected command."""
    rows = [
        JournalRow(f"ordering/order-{key}@{version}", f"order-{key}", version, f"evt.ordering.{kind.__name__}.{key}",
                   kind.__name__, {OCCURRED_AT: AT.format(version)}, example(kind), 0)
        for version, kind in enumerate(HISTORY, 1)
    ]  # fmt: skip
    deadline = rows[0]._replace(
        event_id=f"{rows[0].event_id}/Deadline", aggregate=f"Deadline/order-{key}", subject=f"timer.ordering.D.{key}"
    )
    refusal = rows[0]._replace(
        event_id="ordering/rejection-00@1", aggregate="rejection-00", type="CommandRejected", body=b"{}"
    )
    return [rows[0], deadline, refusal, *rows[1:]]


def write_journal(data_dir: Path, context: str, rows: list[JournalRow]) -> None:
    async def write(work: Callable[[Transaction], object]) -> None:
        store = await SqliteStore.open(data_dir / f"{context}.db", context=context)
        await store.transact(work)
        await store.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(write(lambda transaction: transaction.append(rows)))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_journal(tmp_path, "ordering", journal_of("o-42"))
    return tmp_path


def states() -> list[Any]:
    """The state of the order after each of its events, as JSON."""
    events: list[OrderEvent] = [msgspec.convert(examples(kind)[0], kind) for kind in HISTORY]
    return [json.loads(msgspec.json.encode(order)) for order in accumulate(events, evolve, initial=Order())][1:]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_is_the_fold_of_the_events_so_far(data_dir: Path, version: int) -> None:
    said = chorus("show", "ordering", "order-o-42", "--at", str(version), "--json", CHORUS_DATA_DIR=str(data_dir))
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout) == {
        "aggregate": "order-o-42",
        "version": version,
        "latest": 4,
        "event_id": f"ordering/order-o-42@{version}",
        "type": HISTORY[version - 1].__name__,
        "occurred_at": AT.format(version),
        "state": states()[version - 1],
    }


@pytest.mark.parametrize(
    ("at", "version"),
    [
        ("2026-11-21T09:00:01Z", 1),
        ("2026-11-21T09:00:01.999999Z", 1),
        ("2026-11-21T10:00:03+01:00", 3),
        ("2027-01-01T00:00:00Z", 4),
    ],
)
def test_at_a_time_it_is_the_fold_of_the_events_until_then(data_dir: Path, at: str, version: int) -> None:
    said = chorus("show", "ordering", "o-42", "--at", at, "--json", CHORUS_DATA_DIR=str(data_dir))
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["version"] == version
    assert json.loads(said.stdout)["state"] == states()[version - 1]


def test_without_a_version_it_is_the_latest(data_dir: Path) -> None:
    first, *state = chorus("show", "ordering", "order-o-42", CHORUS_DATA_DIR=str(data_dir)).stdout.splitlines()
    assert first == f"ordering/order-o-42@4 of 4  DeliveryRecorded  {AT.format(4)}"
    assert json.loads("".join(state)) == states()[-1]


def test_a_key_names_the_only_aggregate_that_has_it(data_dir: Path) -> None:
    by_key = chorus("show", "ordering", "o-42", "--json", CHORUS_DATA_DIR=str(data_dir))
    assert (by_key.returncode, by_key.stderr) == (0, "")
    assert json.loads(by_key.stdout)["aggregate"] == "order-o-42"


def test_a_key_of_several_aggregates_is_answered_with_their_names(tmp_path: Path) -> None:
    row = journal_of("o-42")[0]
    write_journal(
        tmp_path, "inventory", [row._replace(event_id=f"inventory/{name}-x@1", aggregate=f"{name}-x") for name in KINDS]
    )
    said = chorus("show", "inventory", "x", CHORUS_DATA_DIR=str(tmp_path))
    assert (said.returncode, said.stdout) == (1, "")
    assert "2 aggregates have the key 'x'; name one: stock-x, reservation-x" in said.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("order-o-42", "--at", "5"), 1, "order-o-42 has versions 1 to 4, not 5"),
        (("order-o-42", "--at", "0"), 1, "order-o-42 has versions 1 to 4, not 0"),
        (("order-o-43",), 1, "ordering has no 'order-o-43'; what it has is named order-KEY"),
        (("o-43",), 1, "ordering has no 'o-43'; what it has is named order-KEY"),
        (("rejection-00",), 1, "ordering has no 'rejection-00'; what it has is named order-KEY"),
        (("order-o-42", "--at", "last"), 64, "'last' is neither a version nor a time such as 2026-11-21T09:00:00Z"),
        (("order-o-42", "--at", "2026-11-21"), 64, "'2026-11-21' is neither a version nor a time"),
        (("order-o-42", "--at", "2026-11-21T09:00:00Z"), 1, f"was not there yet: its first event is of {AT.format(1)}"),
    ],
)
def test_unknown_state_is_reported_with_those_that_exist(
    data_dir: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    said = chorus("show", "ordering", *words, CHORUS_DATA_DIR=str(data_dir))
    assert (said.returncode, said.stdout) == (code, "")
    assert told in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_context_without_a_database_is_reported(tmp_path: Path) -> None:
    said = chorus("show", "ordering", "order-o-42", CHORUS_DATA_DIR=str(tmp_path))
    assert said.returncode == 78
    assert "no such database" in said.stderr
