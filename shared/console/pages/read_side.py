"""Read side: how far each group is, its tables and its topologies, as `chorus lag` and `chorus flow` show them."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import Page, Values
from shared.flow.drawing.topologies import read_by, stages_of
from shared.readside.group import Group
from shared.wire.lag import group_lag_of


async def content(console: Console, _: Request) -> Values:
    """Ask all groups, and the broker for the number of values in each bucket."""
    report, reader, nats = await console.lags.get(), console.sources.reader, console.sources.nats
    buckets = await console.buckets.get()
    lags = {(lag.context, lag.group): lag for lag in report.groups}
    groups = [(side, group) for side in reader.sides for group in side.groups]
    return {
        "groups": [
            (lags[side.name, group.name], _tables(group, buckets), _topologies(group)) for side, group in groups
        ],
        "commands": (
            *(f"chorus lag {side.name} --watch" for side in reader.sides),
            "chorus flow --topologies",
            *(nats("req", f"api.{side.name}.{group_lag_of(group.name)}", "{}") for side, group in groups),
        ),
    }


def _tables(group: Group, buckets: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": table.name,
            "follows": read_by(table) if table.on or table.follows else "",
            "columns": (*table.columns, *table.lists),
            "is_searched": table.text is not None,
            "bucket": buckets[table.name] if table.bucket else "",
        }
        for table in group.all_tables
    ]


def _topologies(group: Group) -> list[tuple[str, str]]:
    return [(topology.name, "\n".join(stages_of(topology))) for topology in group.topologies]


PAGE = Page(path="/read-side", template="read_side.html", menu="Read side", content=content)
