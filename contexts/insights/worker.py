"""Insights as one value: its groups, each a process of its own."""

from contexts.insights.endpoints import FIGURE_QUERIES, QUERIES
from contexts.insights.projections import CUSTOMERS, ORDERS, PAYMENTS, STOCK
from contexts.insights.settings import InsightsSettings
from contexts.insights.topologies import topologies
from shared.readside import Group, ReadSide


def read_side(settings: InsightsSettings) -> ReadSide:
    """The read side of the shop."""
    projection = Group(
        name="projection",
        tables=(ORDERS, CUSTOMERS, STOCK, PAYMENTS),
        queries=QUERIES,
        requires_actor=settings.require_actor,
    )
    analytics = Group(
        name="analytics",
        topologies=topologies(settings.stock_low_within),
        queries=FIGURE_QUERIES,
        version=2,
        requires_actor=settings.require_actor,
    )
    return ReadSide(name="insights", groups=(projection, analytics))
