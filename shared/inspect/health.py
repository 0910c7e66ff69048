"""What is wrong with the workers on this machine, by their health files and by the databases of their contexts.

Everything is read beside the workers, who may hold the database locked or be gone: what waits in a database is in
trouble whether or not a process runs. `chorus health` runs every few seconds as a health check, so this module imports
no more than it needs.
"""

import socket
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from shared.worker.health_file import LiveProcess, live_processes

SILENT_AT_MOST_S: Final = 10.0
"""A process writes its health file every second."""
UNPUBLISHED_AT_MOST_S: Final = 30.0
BEHIND_AT_MOST_S: Final = 30.0
DATABASE_WITHIN_S: Final = 1.0


class Trouble(Struct, frozen=True):
    """What happened to what, and what to do next."""

    what: str
    remedy: str


class Waiting(Struct, frozen=True, kw_only=True):
    """What waits in a context's database: parked messages, refused keys, and rows that are not published."""

    parked: int = 0
    parked_keys: Sequence[str] = ()
    refused_keys: Sequence[str] = ()
    unpublished: int = 0
    unpublished_since: datetime | None = None
    unreadable: str = ""


class Health(Struct, frozen=True, kw_only=True):
    """A context or service: its processes that were asked about, what waits, and what is wrong."""

    context: str
    processes: Sequence[LiveProcess]
    waiting: Waiting
    troubles: Sequence[Trouble]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.troubles


def examine(data_dir: Path, contexts: Iterable[str], *, here: bool, now: datetime | None = None) -> list[Health]:
    """Each context's health; with `here`, of those only that have a process on this host, and by that process."""
    found = live_processes(data_dir)
    host = socket.gethostname()
    names = {process.context for process in found if process.host == host} if here else {*contexts}
    return [
        _health(name, [p for p in found if p.context == name], data_dir, host, now or datetime.now(UTC))
        for name in sorted(names)
    ]


def _health(name: str, everywhere: Sequence[LiveProcess], data_dir: Path, host: str, now: datetime) -> Health:
    # A health check asks in its own container: the process there is not alive because a replica is.
    asked = [process for process in everywhere if process.host == host] or everywhere
    waiting = waiting_in(data_dir / f"{name}.db")
    troubles = [
        *([] if asked else [Trouble("no process of it runs", f"start it: chorus worker {name}")]),
        *(trouble for process in asked for trouble in _of_process(process, now)),
        *_unheld(everywhere),
        *_of_database(name, waiting, now),
    ]
    return Health(context=name, processes=asked, waiting=waiting, troubles=troubles)


def _of_process(process: LiveProcess, now: datetime) -> Iterator[Trouble]:
    who, report = f"process {process.pid} on {process.host}", process.report
    kill = f"kill -9 {process.pid}, and its supervisor starts it again"
    if report is None:
        yield Trouble(f"{who} lives and its health file cannot be read", "look for a full disk or another user's file")
        return
    if process.silent_s > SILENT_AT_MOST_S:
        yield Trouble(f"{who} hangs: silent for {process.silent_s:.0f} s", kill)
        return
    if report.came_round_s > SILENT_AT_MOST_S:
        yield Trouble(f"{who} hangs: its loop has not come round for {report.came_round_s:.0f} s", kill)
    if report.state != "ready":
        yield Trouble(f"{who} is {report.state}", "wait; its log says what it does")
    for alarm in report.alarms:
        yield Trouble(f"{alarm['subject']}: {alarm['reason']} (since {alarm['since']})", str(alarm["remedy"]))
    behind_s = _age_s(report.behind_since, now)
    if behind_s > BEHIND_AT_MOST_S:
        yield Trouble(
            f"{who} is behind: {report.behind} messages wait, the oldest for {behind_s:.0f} s",
            "wait while the number falls; else look into its log",
        )


def _unheld(everywhere: Sequence[LiveProcess]) -> Iterator[Trouble]:
    """Partitions that no process decides; processes of all hosts share one database and count together."""
    reports = [p.report for p in everywhere if p.report is not None and p.silent_s <= SILENT_AT_MOST_S]
    if not any(report.state == "ready" for report in reports):
        return
    unheld = set(range(max(report.partitions for report in reports))) - {n for report in reports for n in report.held}
    if unheld:
        yield Trouble(
            f"no process holds partition {', '.join(map(str, sorted(unheld)))}",
            "check that the server answers (chorus streams plan), and start workers without --partitions",
        )


def _of_database(name: str, waiting: Waiting, now: datetime) -> Iterator[Trouble]:
    if waiting.unreadable:
        yield Trouble(waiting.unreadable, "look into the worker's log")
    if waiting.parked:
        yield Trouble(
            f"{waiting.parked} messages are parked, under {_shown(waiting.parked_keys)}", f"chorus parked ls {name}"
        )
    if waiting.refused_keys:
        yield Trouble(f"the broker refuses what {_shown(waiting.refused_keys)} says", f"chorus parked ls {name}")
    unpublished_s = _age_s(waiting.unpublished_since, now)
    if unpublished_s > UNPUBLISHED_AT_MOST_S:
        yield Trouble(
            f"{waiting.unpublished} rows are not published, the oldest for {unpublished_s:.0f} s",
            "check that the server answers (chorus streams plan) and that the worker runs",
        )


def waiting_in(path: Path) -> Waiting:
    """What waits in a database; nothing in one that is not there or belongs to a service."""
    if not path.is_file():
        return Waiting()
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=DATABASE_WITHIN_S)) as connection:
            return _read(connection)
    except sqlite3.Error as error:
        return Waiting(unreadable=f"{path}: {error}")


def _read(connection: sqlite3.Connection) -> Waiting:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"journal", "parked"} <= tables:
        return Waiting()
    parked = dict(connection.execute("SELECT key, count(*) FROM parked GROUP BY key ORDER BY min(id)").fetchall())
    refused: list[str] = []
    if "refused" in tables:  # A database that no worker of this release has opened yet has none.
        refused = [key for (key,) in connection.execute("SELECT DISTINCT key FROM refused ORDER BY key")]
    # A timer does not say when it was written, but the event that armed it, which stands before it, does.
    occurred_at = "json_extract({}.headers, '$.\"Occurred-At\"')"
    rows, oldest = connection.execute(
        f"SELECT count(*), min(coalesce({occurred_at.format('journal')}, {occurred_at.format('armed_by')}))"  # noqa: S608  No input.
        " FROM journal LEFT JOIN journal armed_by ON armed_by.n = journal.n - 1 WHERE journal.published_seq IS NULL"
    ).fetchone()
    return Waiting(
        parked=sum(parked.values()),
        parked_keys=tuple(parked),
        refused_keys=refused,
        unpublished=rows,
        unpublished_since=None if oldest is None else datetime.fromisoformat(oldest),
    )


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else (now - since).total_seconds()


def _shown(keys: Sequence[str]) -> str:
    more = len(keys) - 3
    return ", ".join(keys[:3]) + (f" and {more} more keys" if more > 0 else "")
