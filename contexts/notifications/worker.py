"""Notifications as one value."""

from typing import get_args

from contexts.mail import mailer
from contexts.notifications.commands import NotificationCommand
from contexts.notifications.decider import Notification, decide, evolve
from contexts.notifications.effects import Postbox
from contexts.notifications.events import (
    CustomerNotified,
    NotificationEvent,
    NotificationFailed,
    NotificationHeld,
    NotificationQueued,
    NotificationWithdrawn,
)
from contexts.notifications.policies import POLICIES
from contexts.notifications.settings import NotificationsSettings
from shared.context import Aggregate, Context, Decider

NOTIFICATION = Aggregate(
    name="notification",
    key="order_id",
    state=Notification,
    events=get_args(NotificationEvent),
    evolve=evolve,
    once=((NotificationQueued, "template"),),
)

GATHER_S = 0.1
"""No saga waits for a letter, so messages may gather into larger batches."""


def context(settings: NotificationsSettings) -> Context:
    """The context with a mail server behind it, or else with a directory of letters."""
    timeout_s = settings.effect_timeout.total_seconds()
    postbox = Postbox(mailer(settings), settings.mail_from)
    return Context(
        name="notifications",
        deciders=(Decider(aggregate=NOTIFICATION, commands=get_args(NotificationCommand), decide=decide),),
        policies=POLICIES,
        effects=postbox.effects(timeout_s),
        gather_s=GATHER_S,
        unheard=(NotificationHeld, NotificationWithdrawn, CustomerNotified, NotificationFailed),
    )
