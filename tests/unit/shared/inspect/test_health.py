"""`chorus health` finds troubles in health files and databases, and names a remedy for each."""

import json
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared import catalog
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.inspect.health import Health, examine
from shared.worker.health_file import HealthFile, Report, live_processes
from tests.unit.shared.cli.test_cli import chorus

NOW = datetime.now(UTC)


@contextmanager
def process(directory: Path, context: str = "payments", *, host: str = "", **said: Any) -> Iterator[HealthFile]:
    """A health file that reports ready; `host` puts the process on another host."""
    file = HealthFile(directory, context)
    if host:
        file.host, file.path = host, directory / f"{context}@{host}-{file.pid}.health"
    known: dict[str, Any] = {
        "context": context,
        "host": file.host,
        "pid": file.pid,
        "at": NOW,
        "started_at": NOW,
        "state": "ready",
        "partitions": 2,
        "owned": [0, 1],
    }
    file.write(Report(**{**known, **said}))
    try:
        yield file
    finally:
        file.remove()


def grow_old(file: HealthFile, by_s: float = 60) -> None:
    then = time.time() - by_s
    os.utime(file.path, (then, then))


def asked(directory: Path, context: str = "payments") -> Health:
    (health,) = examine(directory, SqliteDatabases(directory), [context], here=False, now=NOW)
    return health


def said(directory: Path) -> str:
    return "\n".join(f"{trouble.what}; {trouble.remedy}" for trouble in asked(directory).troubles)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    """The database of payments, into which a test writes as its worker would."""
    store = await SqliteStore.open(tmp_path / "payments.db", context="payments")
    await store.close()
    with closing(sqlite3.connect(tmp_path / "payments.db", isolation_level=None)) as connection:
        yield connection


def journal(database: sqlite3.Connection, number: int, *, age: timedelta, published: int | None = None) -> None:
    headers = json.dumps({"Occurred-At": (NOW - age).isoformat().replace("+00:00", "Z")})
    row = (number, f"payments/payment-{number}@1", f"payment-{number}", 1, f"evt.payments.X.{number}", "X", headers)
    database.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, '{}', 0, ?)", (*row, published))


def test_a_process_that_is_ready_is_well(tmp_path: Path) -> None:
    with process(tmp_path) as file:
        assert asked(tmp_path).well
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert not file.path.exists()


def test_a_context_without_a_process_is_not_well(tmp_path: Path) -> None:
    with process(tmp_path, "inventory"):
        assert said(tmp_path) == "no process of it runs; start it: chorus worker payments"


def test_the_file_of_a_process_that_died_is_removed(tmp_path: Path) -> None:
    with process(tmp_path) as file:
        content = file.path.read_bytes()
    file.path.write_bytes(content)
    assert live_processes(tmp_path) == []
    assert not file.path.exists()


def test_a_process_whose_file_was_removed_writes_it_again(tmp_path: Path) -> None:
    with process(tmp_path) as file:
        (before,) = live_processes(tmp_path)
        assert before.report is not None
        file.path.unlink()
        file.write(before.report)
        assert asked(tmp_path).well


def test_a_shorter_report_leaves_nothing_of_the_longer_one(tmp_path: Path) -> None:
    with process(tmp_path, owned=list(range(200))) as file:
        (long,) = live_processes(tmp_path)
        assert long.report is not None
        file.write(msgspec.structs.replace(long.report, owned=[1]))
        (short,) = live_processes(tmp_path)
        assert short.report is not None
        assert short.report.owned == [1]


def test_a_report_names_the_partitions_as_older_releases_do(tmp_path: Path) -> None:
    with process(tmp_path, owned=[0, 1]) as file:
        assert msgspec.json.decode(file.path.read_bytes())["held"] == [0, 1]


def test_a_hung_process_is_not_alive_because_a_replica_is(tmp_path: Path) -> None:
    with process(tmp_path) as hung, process(tmp_path, host="inventory-1"):
        grow_old(hung)
        assert f"process {hung.pid} on {hung.host} hangs: silent for 60 s" in said(tmp_path)
        assert f"kill -9 {hung.pid}" in said(tmp_path)


def test_a_replica_elsewhere_that_hangs_is_left_to_its_own_health_check(tmp_path: Path) -> None:
    with process(tmp_path), process(tmp_path, host="inventory-1") as hung:
        grow_old(hung)
        assert asked(tmp_path).well


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        ({"state": "starting"}, "is starting"),
        ({"came_round_s": 12.0}, "its loop has not finished a round for 12 s"),
        ({"owned": [1]}, "no process owns partition 0"),
        ({"behind": 7, "behind_since": NOW - timedelta(seconds=99)}, "is behind: 7 messages wait"),
        (
            {
                "alarms": [
                    {"subject": "EVENTS", "reason": "no consumer", "remedy": "chorus streams apply", "since": "x"}
                ]
            },
            "EVENTS: no consumer (since x); chorus streams apply",
        ),
    ],
    ids=["not ready", "loop stalled", "partition unowned", "behind", "alarm"],
)
def test_trouble_that_a_process_reports_is_shown(tmp_path: Path, reported: dict[str, Any], words: str) -> None:
    with process(tmp_path, **reported):
        assert words in said(tmp_path)


def test_a_message_that_has_just_come_is_no_trouble(tmp_path: Path) -> None:
    with process(tmp_path, behind=1, behind_since=NOW):
        assert asked(tmp_path).well


def test_processes_own_the_partitions_together(tmp_path: Path) -> None:
    with process(tmp_path, owned=[0]), process(tmp_path, host="elsewhere", owned=[1]):
        assert asked(tmp_path).well


def test_what_is_parked_counts_though_no_process_runs(tmp_path: Path, database: sqlite3.Connection) -> None:
    columns = "key, partition, stream, seq, at_ns, message_id, subject, headers, body, reason"
    database.execute(f"INSERT INTO parked ({columns}) VALUES ('o-7', 0, 'EVENTS', 1, 0, 'm', 's', '{{}}', x'', 'r')")
    assert "1 messages are parked, under o-7; chorus parked ls payments" in said(tmp_path)


def test_a_refused_key_counts(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO refused (n, key, partition, reason, seq, since) VALUES (1, 'o-8', 0, 'taken', 0, '')")
    with process(tmp_path):
        assert "the broker refuses events under o-8; chorus parked ls payments" in said(tmp_path)


def test_rows_unpublished_for_long_count_and_young_or_published_ones_do_not(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    journal(database, 1, age=timedelta(hours=1), published=5)
    journal(database, 2, age=timedelta(seconds=1))
    with process(tmp_path):
        assert asked(tmp_path).well
        journal(database, 3, age=timedelta(seconds=90))
        assert "2 rows are not published, the oldest for 9" in said(tmp_path)


def test_a_database_that_its_worker_has_locked_is_read_all_the_same(
    tmp_path: Path, database: sqlite3.Connection
) -> None:
    journal(database, 1, age=timedelta(seconds=90))
    database.execute("BEGIN EXCLUSIVE")
    assert "1 rows are not published" in said(tmp_path)


def test_a_database_that_cannot_be_read_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "payments.db").write_text("not a database, and not empty either")
    with process(tmp_path):
        assert "payments.db: file is not a database" in said(tmp_path)


def test_health_exits_0_only_if_every_declared_member_is_well(tmp_path: Path) -> None:
    data = str(tmp_path)
    missing = chorus("health", CHORUS_DATA_DIR=data)
    assert missing.returncode == 1
    assert [line.split(":")[0] for line in missing.stdout.splitlines()] == list(catalog.names())
    with process(tmp_path, "bank", partitions=0, owned=[]) as bank:
        assert chorus("health", CHORUS_DATA_DIR=data).returncode == 1
        grow_old(bank, by_s=0)  # On a busy machine each command may take seconds, after which the bank counts as hung.
        alone = chorus("health", "bank", "--json", CHORUS_DATA_DIR=data)
        assert alone.returncode == 0
        assert json.loads(alone.stdout)["bank"]["well"] is True
        assert json.loads(alone.stdout)["bank"]["processes"][0]["report"]["state"] == "ready"
        grow_old(bank, by_s=0)
        here = chorus("health", "--here", CHORUS_DATA_DIR=data)
        assert (here.returncode, here.stdout) == (0, "bank: alive\n")
    nothing = chorus("health", "--here", CHORUS_DATA_DIR=data)
    assert nothing.returncode == 1
    assert "no worker runs on this host" in nothing.stdout


def test_health_of_a_misspelt_context_is_a_wrong_command_line(tmp_path: Path) -> None:
    misspelt = chorus("health", "orderin", CHORUS_DATA_DIR=str(tmp_path))
    assert misspelt.returncode == 64
    assert "did you mean 'ordering'" in misspelt.stderr
