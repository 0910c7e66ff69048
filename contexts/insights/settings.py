"""The settings of insights."""

from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta

from contexts.insights.upstream import (
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderShipped,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    ReturnRefunded,
    ReturnRequested,
)
from shared.config.secrets import Secret, SecretUrl
from shared.config.settings import Settings, SettingsError
from shared.config.spelling import did_you_mean
from shared.readside.dataflow import Source

SECRET_LENGTH_AT_LEAST = 16

FORWARDED = (
    Source("ordering", (OrderPlaced, OrderConfirmed, OrderCancelled, ReturnRequested, ReturnRefunded)),
    Source("payments", (PaymentSucceeded, PaymentFailed, PaymentRefunded)),
    Source("shipping", (OrderShipped, OrderDelivered)),
)
"""The events that may be forwarded: those with a meaning outside of the shop."""


class InsightsSettings(Settings, frozen=True, kw_only=True):
    """When an article is low, whether a query has to name its customer, and where events are forwarded to."""

    stock_low_within: Annotated[
        timedelta, Meta(description="an article that runs out within this time at its present sales is low")
    ] = timedelta(days=1)
    require_actor: Annotated[
        bool, Meta(description="whether a command or a query about a customer's things has to name them in Acting-For")
    ] = False
    forward_url: Annotated[
        SecretUrl | None, Meta(description="the http[s] endpoint that the group integration forwards events to, if set")
    ] = None
    forward_secret: Annotated[
        Secret, Meta(description="signs what is forwarded, as webhooks are signed; 16 characters or more")
    ] = Secret("")
    forward_events: Annotated[
        str, Meta(description="which of the events are forwarded, as OrderPlaced,OrderShipped; all of them unless set")
    ] = ""
    forward_since: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="events that occurred before this time are not forwarded"),
    ] = None

    def __post_init__(self) -> None:
        problems = []
        if self.forward_url is not None and not self.forward_url.startswith(("http://", "https://")):
            problems.append("CHORUS_FORWARD_URL: give a URL that begins with http:// or https://")
        if self.forward_secret and len(self.forward_secret) < SECRET_LENGTH_AT_LEAST:
            problems.append(f"CHORUS_FORWARD_SECRET: give {SECRET_LENGTH_AT_LEAST} characters or more")
        if problems:
            raise SettingsError(tuple(problems))
        forwarded(self.forward_events)


def forwarded(names: str) -> tuple[Source, ...]:
    """The events that CHORUS_FORWARD_EVENTS names, or all of FORWARDED; raises SettingsError for another name."""
    offered = [event.__name__ for source in FORWARDED for event in source.events]
    wanted = [name for part in names.split(",") if (name := part.strip())] or offered
    for name in wanted:
        if name not in offered:
            meant, there = did_you_mean(name, offered), ", ".join(offered)
            raise SettingsError((f"CHORUS_FORWARD_EVENTS: {name} is not forwarded{meant}; there are {there}",))
    chosen = (
        Source(source.context, tuple(event for event in source.events if event.__name__ in wanted))
        for source in FORWARDED
    )
    return tuple(source for source in chosen if source.events)
