"""Queries on a group's tables beside its writer."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.adapters.sqlite.views.tables import generation, list_name, table_name, text_name
from shared.adapters.sqlite.views.transaction import known
from shared.ports.views import Known, Put
from shared.readside import Group
from shared.views import NOTHING, Counted, Page

_WORD = re.compile(r"[^\W_]+")
"""A word as SQLite's tokenizer cuts it, so that `o-42` is two words."""


class SqliteViewReader:
    """The tables of a group on one connection, within one read transaction."""

    def __init__(self, connection: sqlite3.Connection, group: Group) -> None:
        self._connection = connection
        self._tables = {table.name: table for table in group.all_tables}

    def known(self) -> Known:
        return known(self._connection)

    def generation(self) -> str:
        return generation(self._connection)

    def row(self, table: str, key: str) -> msgspec.Raw | None:
        query = f"SELECT row FROM {table_name(self._tables[table].name)} WHERE key = ?"  # noqa: S608 - our own name.
        found = self._connection.execute(query, (key,)).fetchone()
        return None if found is None else msgspec.Raw(found[0].encode())

    def page(
        self,
        table: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        since: tuple[str, str | None, str | None] | None = None,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        declared = self._tables[table]
        conditions: list[str] = []
        values: list[Any] = []
        for column, value in where.items():
            if value is None:
                continue
            if column in declared.lists:
                conditions.append(f"n IN (SELECT n FROM {list_name(table, column)} WHERE value = ?)")  # noqa: S608 - our own names.
            else:
                assert column in declared.columns, column
                conditions.append(f"{column} = ?")
            values.append(value)
        if since is not None:
            column, least, end = since
            assert column in declared.columns, column
            for comparison, value in (">=", least), ("<", end):
                if value is not None:
                    conditions.append(f"{column} {comparison} ?")
                    values.append(value)
        return self._page(declared.name, conditions, values, after, at_most)

    def search(self, table: str, text: str, *, after: int | None = None, at_most: int) -> Page:
        words = [f'"{word}"*' for word in _WORD.findall(text)]
        if not words:
            return Page([], None)
        texts = text_name(self._tables[table].name)
        matches = f"n IN (SELECT rowid FROM {texts} WHERE {texts} MATCH ?)"  # noqa: S608 - our own name.
        return self._page(table, [matches], [" AND ".join(words)], after, at_most)

    def counts(self) -> list[Counted]:
        query = "SELECT place, what, number FROM flow_counts ORDER BY place, what"
        return [Counted(*row) for row in self._connection.execute(query)]

    def changed_since(self, table: str, sequence: int, key: str, *, at_most: int) -> list[Put]:
        query = (
            f"SELECT key, sequence, row FROM {table_name(self._tables[table].name)}"  # noqa: S608 - our own name.
            " WHERE (sequence, key) > (?, ?) ORDER BY sequence, key LIMIT ?"
        )
        found = self._connection.execute(query, (sequence, key, at_most))
        return [Put(changed, at, row.encode()) for changed, at, row in found]

    def _page(
        self, table: str, conditions: Sequence[str], values: Sequence[Any], after: int | None, at_most: int
    ) -> Page:
        behind = [*conditions, *([] if after is None else ["n < ?"])]
        where = f" WHERE {' AND '.join(behind)}" if behind else ""
        query = f"SELECT n, row FROM {table_name(table)}{where} ORDER BY n DESC LIMIT ?"  # noqa: S608 - our own names.
        found = self._connection.execute(query, (*values, *([] if after is None else [after]), at_most + 1)).fetchall()
        rows = found[:at_most]
        return Page([msgspec.Raw(row.encode()) for _, row in rows], rows[-1][0] if len(found) > at_most else None)
