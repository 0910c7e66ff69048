"""The queries that find what differs between the database `main` and the database `live` of a group, table by table.

Each gives (what, key, before, after, sequence). The index of a search is not compared: it cannot be read back.
"""

from collections.abc import Iterator, Set

from shared.adapters.sqlite.views.tables import list_name, table_name
from shared.readside.group import Group


def statements_of(group: Group, there: Set[str]) -> Iterator[tuple[str, str]]:
    """(what, query) of everything in the second database; `there` are the tables that the live one has."""
    for table in group.all_tables:
        rows = table_name(table.name)
        if rows not in there:
            yield table.name, _only_in_main(rows)
            continue
        yield table.name, _changed(rows)
        yield table.name, _new(rows)
        for column in table.lists:
            values = list_name(table.name, column)
            what = f"{table.name} by {column}"
            if values in there:
                yield what, _values(rows, values, "live", "main", "value, NULL")
            yield what, _values(rows, values, "main", "live", "NULL, value") if values in there else _all(rows, values)
    for what, query in _OF_EVERY_GROUP.items():
        yield what, query


def _changed(rows: str) -> str:
    return (
        "SELECT :what, was.key, was.row, now.row, max(was.sequence, coalesce(now.sequence, 0))"  # noqa: S608 - our own names.
        f" FROM live.{rows} AS was LEFT JOIN main.{rows} AS now ON now.key = was.key"
        " WHERE now.row IS NOT was.row ORDER BY was.n"
    )


def _new(rows: str) -> str:
    return (
        f"SELECT :what, now.key, NULL, now.row, now.sequence FROM main.{rows} AS now"  # noqa: S608 - our own names.
        f" WHERE NOT EXISTS (SELECT 1 FROM live.{rows} AS was WHERE was.key = now.key) ORDER BY now.n"
    )


def _only_in_main(rows: str) -> str:
    return f"SELECT :what, key, NULL, row, sequence FROM main.{rows} ORDER BY n"  # noqa: S608 - our own names.


def _values(rows: str, values: str, one: str, other: str, shown: str) -> str:
    """The values that a row has in one of the two databases only."""
    return (
        f"SELECT :what, row.key, {shown}, row.sequence"  # noqa: S608 - our own names.
        f" FROM (SELECT n, json_quote(value) AS value, value AS bare FROM {one}.{values}) AS pair"
        f" JOIN {one}.{rows} AS row ON row.n = pair.n WHERE NOT EXISTS (SELECT 1 FROM {other}.{values} AS there"
        f" WHERE there.value = pair.bare AND there.n = (SELECT n FROM {other}.{rows} AS same WHERE same.key = row.key))"
        " ORDER BY row.n"
    )


def _all(rows: str, values: str) -> str:
    return (
        f"SELECT :what, row.key, NULL, json_quote(pair.value), row.sequence FROM main.{values} AS pair"  # noqa: S608 - our own names.
        f" JOIN main.{rows} AS row ON row.n = pair.n ORDER BY row.n"
    )


_OF_EVERY_GROUP = {
    "poison": """
        SELECT :what, was.sequence, json_quote(was.reason), json_quote(now.reason), was.sequence
          FROM live.poison AS was LEFT JOIN main.poison AS now ON now.sequence = was.sequence
          WHERE now.reason IS NOT was.reason
        UNION ALL SELECT :what, now.sequence, NULL, json_quote(now.reason), now.sequence FROM main.poison AS now
          WHERE NOT EXISTS (SELECT 1 FROM live.poison AS was WHERE was.sequence = now.sequence)""",
    "state": """
        SELECT :what, was.place || ' ' || was.key, CAST(was.entry AS TEXT), CAST(now.entry AS TEXT), NULL
          FROM live.flow_state AS was LEFT JOIN main.flow_state AS now ON now.place = was.place AND now.key = was.key
          WHERE now.entry IS NOT was.entry
        UNION ALL SELECT :what, now.place || ' ' || now.key, NULL, CAST(now.entry AS TEXT), NULL
          FROM main.flow_state AS now WHERE NOT EXISTS
            (SELECT 1 FROM live.flow_state AS was WHERE was.place = now.place AND was.key = now.key)""",
    "count": """
        SELECT :what, was.place || ' ' || was.what, was.number, now.number, NULL
          FROM live.flow_counts AS was
          LEFT JOIN main.flow_counts AS now ON now.place = was.place AND now.what = was.what
          WHERE now.number IS NOT was.number
        UNION ALL SELECT :what, now.place || ' ' || now.what, NULL, now.number, NULL
          FROM main.flow_counts AS now WHERE NOT EXISTS
            (SELECT 1 FROM live.flow_counts AS was WHERE was.place = now.place AND was.what = now.what)""",
    "event": """
        SELECT :what, was.event_id, was.body, nullif(now.body, ''), was.published_seq
          FROM live.outbox AS was LEFT JOIN main.outbox AS now ON now.event_id = was.event_id
          WHERE was.body <> '' AND nullif(now.body, '') IS NOT was.body
        UNION ALL SELECT :what, now.event_id, NULL, now.body, now.published_seq
          FROM main.outbox AS now WHERE now.body <> '' AND NOT EXISTS
            (SELECT 1 FROM live.outbox AS was WHERE was.event_id = now.event_id)""",
}
"""A row of the outbox without a body is of an event that no topology has given: there is nothing to compare."""
