"""A second database of a group, folded from the same events: how it differs from the live one, and how it takes over.

The two are compared in one read snapshot of the live database, so its process may run. A row that differs gets the
position of the comparison as its sequence: its bucket then gets it again, and no other row.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from shared.adapters.sqlite.errors import translated
from shared.adapters.sqlite.reading import reading
from shared.adapters.sqlite.replace import replace_by
from shared.adapters.sqlite.views.comparison import statements_of
from shared.adapters.sqlite.views.shape import shape_of
from shared.adapters.sqlite.views.store import SqliteViewStore, only_one, remove_with_log, successor_of
from shared.adapters.sqlite.views.tables import (
    SCHEMA,
    SCHEMA_VERSION,
    follow,
    generation,
    generation_number,
    shape_in,
    table_name,
)
from shared.adapters.sqlite.views.transaction import known
from shared.ports.store import DatabaseError
from shared.ports.views import Known, Predecessor, RowDifference
from shared.readside.group import Group


class SqliteSecond:
    """The second database of a group, in `directory`; `live` is the path of the live one."""

    def __init__(self, live: Path, directory: Path, group: Group) -> None:
        self._live = live
        self._group = group
        self._new = directory / f"{live.name}.building"
        self._in_progress: sqlite3.Connection | None = None
        self.path = directory / live.name
        """The second database, once it is complete."""

    def position(self) -> Known:
        """How far the live database is."""
        with reading(self._live, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
            return known(connection)

    def is_of_this_code(self) -> bool:
        """Whether the process of the live database can go on with the second one as it is."""
        with reading(self._live, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
            return shape_in(connection) == shape_of(self._group)

    async def create(self) -> SqliteViewStore:
        if self.path.parent.exists() and self.path.parent.samefile(self._live.parent):
            raise DatabaseError(f"{self.path.parent} is where the live databases are; name another directory")
        if self.path.exists():
            raise DatabaseError(f"{self.path} is there already; delete it, or name another directory")
        self._remove_leftovers()
        return await SqliteViewStore.open(self._new, self._group)

    def _remove_leftovers(self) -> None:
        """Of a run that was killed."""
        remove_with_log(self._new)

    @contextmanager
    def beside_live(self) -> Iterator["SqliteComparison"]:
        try:
            uri = f"{self._new.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
                connection.execute("ATTACH ? AS live", (f"{self._live.absolute().as_uri()}?mode=ro",))
                connection.execute("BEGIN")
                yield SqliteComparison(connection, self._group)
        except sqlite3.Error as error:
            raise translated(error, self._new) from error

    def complete(self) -> None:
        """Give it its name."""
        self._new.rename(self.path)
        Path(f"{self._new}.lock").unlink(missing_ok=True)

    def check_free(self) -> None:
        """Raise DatabaseError while another second database waits for the process that runs the group."""
        waiting = successor_of(self._live)
        if waiting.exists():
            raise DatabaseError(
                f"{waiting} waits already to become the live one: start a worker with its code, or delete it while the"
                " worker is stopped"
            )

    def take_over(self) -> Path | None:
        """Put it in the place of the live one, or leave it beside it for the process that runs the group.

        Returns the path at which it waits for that process, or None when it is the live one now.
        """
        self.check_free()
        waiting = successor_of(self._live)
        remove_with_log(waiting)
        try:
            self.path.replace(waiting)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_to(waiting)
        with only_one(self._live) as alone:
            if alone and waiting.exists():
                replace_by(self._live, waiting)
        return waiting if waiting.exists() else None

    def _copy_to(self, waiting: Path) -> None:
        """From another file system; a copy that was cut short is never taken."""
        part = waiting.with_name(f"{waiting.name}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with self.path.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(descriptor)
        part.replace(waiting)
        self.path.unlink()


class SqliteComparison:
    """The two databases on one connection: the second one is `main`, and `live` is attached."""

    def __init__(self, connection: sqlite3.Connection, group: Group) -> None:
        self._connection = connection
        self._group = group
        self.known = Known(
            *connection.execute("SELECT sequence, message_id, at_ns, created FROM live.known").fetchone()
        )
        """The position of the live one, in the snapshot that is compared."""

    def compare(self) -> None:
        run = self._connection.execute
        run(
            "CREATE TEMP TABLE differing (n INTEGER PRIMARY KEY, what TEXT NOT NULL, key TEXT NOT NULL,"
            " before TEXT, after TEXT, sequence INTEGER)"
        )
        there = {name for (name,) in run("SELECT name FROM live.sqlite_schema WHERE type = 'table'")}
        for what, statement in statements_of(self._group, there):
            run(f"INSERT INTO differing (what, key, before, after, sequence) {statement}", {"what": what})
        for table in self._group.buckets:
            run(
                f"UPDATE main.{table_name(table.name)} SET sequence = ?"  # noqa: S608 - our own name.
                " WHERE key IN (SELECT key FROM differing WHERE what = ? AND after IS NOT NULL)",
                (self.known.sequence, table.name),
            )
        before = Predecessor(self.known.sequence, generation(self._connection, "live"))
        follow(self._connection, generation_number(self._connection, "live") + 1, before)
        run("COMMIT")  # Here, so that the log of the live one does not grow while somebody reads the differences.

    def differences(self) -> Iterator[RowDifference]:
        query = "SELECT what, key, before, after, sequence FROM differing ORDER BY n"
        return (RowDifference(*row) for row in self._connection.execute(query))
