"""Finds out what is wrong with the workers on this machine, from their health files and databases.

The workers may run, hold the database locked or be gone. Messages that wait in a database are a trouble whether or not
a process runs. `chorus health` runs every few seconds as a health check, so this module imports little.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from shared.ports.databases import Databases
from shared.ports.store_reader import Backlog
from shared.worker.health_file import LiveProcess, live_processes

SILENT_AT_MOST_S: Final = 10.0
"""A process writes its health file every second."""
UNPUBLISHED_AT_MOST_S: Final = 30.0
BEHIND_AT_MOST_S: Final = 30.0


class Trouble(Struct, frozen=True):
    """One thing that is wrong (`what`), and what to do about it (`remedy`)."""

    what: str
    remedy: str


class Health(Struct, frozen=True, kw_only=True):
    """The health of a context: its processes, what waits in its database, and what is wrong."""

    context: str
    processes: Sequence[LiveProcess]
    waiting: Backlog
    troubles: Sequence[Trouble]

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.troubles


def examine(
    data_dir: Path, databases: Databases, contexts: Iterable[str], *, here: bool, now: datetime | None = None
) -> list[Health]:
    """The health of each context. With `here`, only contexts with a process on this host, judged by that process."""
    found = live_processes(data_dir)
    host = socket.gethostname()
    names = {_whose(process) for process in found if process.host == host} if here else {*contexts}
    return [
        _health(name, [p for p in found if _whose(p) == name], databases, host, now or datetime.now(UTC))
        for name in sorted(names)
    ]


def _whose(process: LiveProcess) -> str:
    """The context of a process: a group of a read side adds its own name behind a dash, which no context has."""
    return process.context.partition("-")[0]


def _health(name: str, everywhere: Sequence[LiveProcess], databases: Databases, host: str, now: datetime) -> Health:
    # A health check asks about the process in its own container; a replica elsewhere does not make it alive.
    asked = [process for process in everywhere if process.host == host] or everywhere
    waiting = databases.backlog(name)
    troubles = [
        *([] if asked else [Trouble("no process of it runs", f"start it: chorus worker {name}")]),
        *(trouble for process in asked for trouble in _process_troubles(process, now)),
        *_unowned_partitions(everywhere),
        *_database_troubles(name, waiting, now),
    ]
    return Health(context=name, processes=asked, waiting=waiting, troubles=troubles)


def _process_troubles(process: LiveProcess, now: datetime) -> Iterator[Trouble]:
    who, report = f"process {process.pid} on {process.host}", process.report
    kill = f"kill -9 {process.pid}, and its supervisor restarts it"
    if report is None:
        yield Trouble(f"{who} lives and its health file cannot be read", "check the disk and the owner of the file")
        return
    if process.silent_s > SILENT_AT_MOST_S:
        yield Trouble(f"{who} hangs: silent for {process.silent_s:.0f} s", kill)
        return
    if report.came_round_s > SILENT_AT_MOST_S:
        yield Trouble(f"{who} hangs: its loop has not finished a round for {report.came_round_s:.0f} s", kill)
    if report.state != "ready":
        yield Trouble(f"{who} is {report.state}", "wait; its log tells what it does")
    for alarm in report.alarms:
        yield Trouble(f"{alarm['subject']}: {alarm['reason']} (since {alarm['since']})", str(alarm["remedy"]))
    behind_s = _age_s(report.behind_since, now)
    if behind_s > BEHIND_AT_MOST_S:
        yield Trouble(
            f"{who} is behind: {report.behind} messages wait, the oldest for {behind_s:.0f} s",
            "wait while the number falls; else read its log",
        )


def _unowned_partitions(everywhere: Sequence[LiveProcess]) -> Iterator[Trouble]:
    """A trouble for partitions that no process owns. Processes of all hosts share one database, so all count."""
    reports = [p.report for p in everywhere if p.report is not None and p.silent_s <= SILENT_AT_MOST_S]
    if not any(report.state == "ready" for report in reports):
        return
    unowned = set(range(max(report.partitions for report in reports))) - {n for report in reports for n in report.owned}
    if unowned:
        yield Trouble(
            f"no process owns partition {', '.join(map(str, sorted(unowned)))}",
            "check that the server answers (chorus streams plan), and start workers without --partitions",
        )


def _database_troubles(name: str, waiting: Backlog, now: datetime) -> Iterator[Trouble]:
    if waiting.unreadable:
        yield Trouble(waiting.unreadable, "read the log of its worker")
    if waiting.parked:
        yield Trouble(
            f"{waiting.parked} messages are parked, under {_shown(waiting.parked_keys)}", f"chorus parked ls {name}"
        )
    if waiting.refused_keys:
        yield Trouble(f"the broker refuses events under {_shown(waiting.refused_keys)}", f"chorus parked ls {name}")
    unpublished_s = _age_s(waiting.unpublished_since, now)
    if unpublished_s > UNPUBLISHED_AT_MOST_S:
        yield Trouble(
            f"{waiting.unpublished} rows are not published, the oldest for {unpublished_s:.0f} s",
            "check that the server answers (chorus streams plan) and that the worker runs",
        )


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else (now - since).total_seconds()


def _shown(keys: Sequence[str]) -> str:
    more = len(keys) - 3
    return ", ".join(keys[:3]) + (f" and {more} more keys" if more > 0 else "")
