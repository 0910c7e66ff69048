"""The HTTP door of the shop: customers place orders, and the carrier reports on parcels."""

from typing import Annotated, Literal, assert_never

from msgspec import Meta, Struct

from contexts.kernel import Text
from contexts.ordering.commands import PlaceOrder
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned
from shared.http.door import CommandPath, Door, Said, WebhookPath
from shared.wire.messages import check_key


class ParcelReport(Struct, frozen=True, kw_only=True):
    """A report of the carrier; `id` is the carrier's own, the same on every attempt."""

    id: Annotated[str, Meta(min_length=1, max_length=100)]
    order_id: Annotated[str, Meta(min_length=1, max_length=64)]
    tracking_no: Text
    outcome: Literal["delivered", "lost", "returned"]


def command_of(report: ParcelReport) -> Said:
    """The command that a report leads to; raises ValueError when its order has no id that can be one."""
    key = check_key(report.order_id)
    match report.outcome:
        case "delivered":
            command: ReportDelivered | ReportLost | ReportReturned = ReportDelivered(tracking_no=report.tracking_no)
        case "lost":
            command = ReportLost(tracking_no=report.tracking_no)
        case "returned":
            command = ReportReturned(tracking_no=report.tracking_no)
        case _:
            assert_never(report.outcome)
    return Said(context="shipping", command=command, key=key, id=report.id)


DOOR = Door(
    title="Shop",
    commands=(CommandPath(path="/orders", context="ordering", command=PlaceOrder, summary="Place an order."),),
    webhooks=(
        WebhookPath(
            path="/webhooks/carrier",
            sender="carrier",
            body=ParcelReport,
            says=command_of,
            summary="Report what became of a parcel.",
        ),
    ),
)
