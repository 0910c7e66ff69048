"""Shows a query only what belongs to one actor, by the owners that its tables declare.

The rule is in the tables, so a query that is added later follows it too. A refusal does not reveal whether the row
exists. A table without an owner, and the counts of a group, belong to no actor, and are refused.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.readside.views import NOTHING, Counted, Owner, Page, Table, View
from shared.wire.messages import ACTING_FOR

NOT_YOURS = "not_yours"
"""The reason of a refusal when the table declares none."""


class NotTheirsError(Exception):
    """An actor asks for what is not theirs. `reason` is that of the table; the text never says whether it exists."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class OwnedView:
    """The tables of a group as one actor may see them; an empty actor is refused everything."""

    def __init__(self, view: View, tables: Mapping[str, Table], actor: str) -> None:
        self._view = view
        self._tables = tables
        self._actor = actor

    def row(self, table: str, key: str) -> msgspec.Raw:
        owner = self._owner(table)
        row = self._view.row(table, key)
        with_owner = row if owner.table is None else self._view.row(owner.table, key)
        if row is None or with_owner is None or self._named_in(with_owner, owner, table) != self._actor:
            raise self._refusal(owner)
        return row

    def page(
        self,
        table: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        since: tuple[str, str | None, str | None] | None = None,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        return self._view.page(table, where=self._theirs(table, where), since=since, after=after, at_most=at_most)

    def search(
        self,
        table: str,
        text: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        return self._view.search(table, text, where=self._theirs(table, where), after=after, at_most=at_most)

    def counts(self) -> list[Counted]:
        raise NotTheirsError(NOT_YOURS, "the counts of a group are nobody's own")

    def _owner(self, table: str) -> Owner:
        owner = self._tables[table].owner
        if not self._actor:
            reason = NOT_YOURS if owner is None else owner.refusal
            raise NotTheirsError(reason, f"it does not say for whom it acts; set the header {ACTING_FOR}")
        if owner is None:
            raise NotTheirsError(NOT_YOURS, f"the rows of {table} are nobody's own")
        return owner

    def _theirs(self, table: str, where: Mapping[str, str | None]) -> Mapping[str, str | None]:
        owner = self._owner(table)
        if owner.table is not None or owner.field not in self._tables[table].columns:
            raise NotTheirsError(owner.refusal, f"{table} has no column with the owner, so it cannot be listed")
        if where.get(owner.field) not in (None, self._actor):
            raise self._refusal(owner)
        return {**where, owner.field: self._actor}

    def _named_in(self, row: msgspec.Raw, owner: Owner, table: str) -> Any:
        form = self._tables[owner.table or table].row
        return getattr(msgspec.json.decode(row, type=form), owner.field)

    def _refusal(self, owner: Owner) -> NotTheirsError:
        return NotTheirsError(owner.refusal, f"it acts for {self._actor!r}, to whom nothing of this belongs")
