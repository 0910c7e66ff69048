"""Queries on a group's tables beside its writer."""

import re
import sqlite3
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.adapters.sqlite.views.tables import generation, list_name, predecessor, table_name, text_name
from shared.adapters.sqlite.views.transaction import known
from shared.ports.views import Known, Predecessor, Put
from shared.readside.group import Group
from shared.readside.views import NOTHING, Counted, Page

_WORD = re.compile(r"[^\W_]+")
"""A word as SQLite's tokenizer cuts it, so that `o-42` is two words."""


class _Driver(NamedTuple):
    """A table that has the numbers of the rows to list in their order: its column with them, and its condition."""

    table: str
    n: str
    condition: str


class SqliteViewReader:
    """The tables of a group on one connection, within one read transaction."""

    def __init__(self, connection: sqlite3.Connection, group: Group) -> None:
        self._connection = connection
        self._tables = {table.name: table for table in group.all_tables}

    def known(self) -> Known:
        return known(self._connection)

    def generation(self) -> str:
        return generation(self._connection)

    def predecessor(self) -> Predecessor | None:
        return predecessor(self._connection)

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
        driver, conditions, values = self._having(table, where)
        rows = table_name(table)
        if since is not None:
            column, least, end = since
            assert column in self._tables[table].columns, column
            for comparison, value in (">=", least), ("<", end):
                if value is not None:
                    conditions.append(f"{rows}.{column} {comparison} ?")
                    values.append(value)
        return self._page(rows, driver, conditions, values, after, at_most)

    def search(
        self,
        table: str,
        text: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        # Composed, because a mark by itself would end a word; the tokenizer drops marks on either side.
        words = [f'"{word}"*' for word in dict.fromkeys(_WORD.findall(unicodedata.normalize("NFC", text)))]
        if not words:
            return Page([], None)
        driver, conditions, values = self._having(table, where)
        rows, texts, match = table_name(table), text_name(self._tables[table].name), " AND ".join(words)
        if not conditions and driver is None:
            return self._page(rows, _Driver(texts, "rowid", f"{texts} MATCH ?"), [], [match], after, at_most)
        # The few rows with these values are looked up in the index of words; all that match may be very many.
        found = f"EXISTS (SELECT 1 FROM {texts} WHERE {texts} MATCH ? AND rowid = {rows}.n)"  # noqa: S608 - our own names.
        return self._page(rows, driver, [*conditions, found], [*values, match], after, at_most)

    def _having(self, table: str, where: Mapping[str, str | None]) -> tuple[_Driver | None, list[str], list[Any]]:
        """The driver, the conditions and their values for rows whose columns have these values."""
        declared, rows = self._tables[table], table_name(table)
        listed = [column for column, value in where.items() if column in declared.lists and value is not None]
        driver = None if not listed else _Driver(list_name(table, listed[0]), "n", "value = ?")
        conditions: list[str] = []
        values: list[Any] = [where[column] for column in listed[:1]]
        for column, value in where.items():
            if value is None or column in listed[:1]:
                continue
            if column in listed:
                conditions.append(f"{rows}.n IN (SELECT n FROM {list_name(table, column)} WHERE value = ?)")  # noqa: S608 - our own names.
            else:
                assert column in declared.columns, column
                conditions.append(f"{rows}.{column} = ?")
            values.append(value)
        return driver, conditions, values

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
        self,
        rows: str,
        driver: _Driver | None,
        conditions: Sequence[str],
        values: Sequence[Any],
        after: int | None,
        at_most: int,
    ) -> Page:
        """The newest rows first, read from the end of one index, so that a page costs what it shows."""
        if driver is None:
            source, n, all_conditions = rows, f"{rows}.n", [*conditions]
        else:
            n = f"{driver.table}.{driver.n}"
            source = f"{driver.table} CROSS JOIN {rows} ON {rows}.n = {n}"  # CROSS: the driver comes first.
            all_conditions = [driver.condition, *conditions]
        if after is not None:
            all_conditions.append(f"{n} < ?")
        where = f" WHERE {' AND '.join(all_conditions)}" if all_conditions else ""
        query = f"SELECT {rows}.n, {rows}.row FROM {source}{where} ORDER BY {n} DESC LIMIT ?"  # noqa: S608 - our own names.
        behind = [] if after is None else [after]
        found = self._connection.execute(query, (*values, *behind, at_most + 1)).fetchall()
        shown = found[:at_most]
        return Page([msgspec.Raw(row.encode()) for _, row in shown], shown[-1][0] if len(found) > at_most else None)
