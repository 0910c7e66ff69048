"""Whether a letter about an order is sent: one of each template, and none before the customer's address is known.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once, also about an alert whose letter was
withdrawn: alerts have numbers, and those that are over are remembered.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.notifications.commands import (
    ConfirmReceipt,
    NotificationCommand,
    RecordNotSent,
    RecordSent,
    TellCustomer,
    WithdrawLetter,
)
from contexts.notifications.events import (
    CustomerNotified,
    NotificationEvent,
    NotificationFailed,
    NotificationHeld,
    NotificationQueued,
    NotificationWithdrawn,
    Template,
)

Stage: TypeAlias = Literal["HELD", "QUEUED", "SENT", "FAILED"]


class Notification(Struct, frozen=True, kw_only=True):
    """The letters about one order; `held` are those that wait for the address.

    `email` is the address of the order. The alerts up to the number `alerts_over` need no letter any more.
    """

    email: str = ""
    letters: dict[Template, Stage] = {}
    held: tuple[NotificationHeld, ...] = ()
    alerts_over: int = 0

    def is_over(self, alert: int | None) -> bool:
        """Whether news is about an alert that was cleared; one without a number is older than all that have one."""
        return alert is not None and 0 < self.alerts_over >= alert


def decide(command: NotificationCommand, notification: Notification) -> tuple[NotificationEvent, ...]:
    """Decide on the command: no event for a template that was answered before."""
    match command:
        case ConfirmReceipt():
            return () if "order_received" in notification.letters else _confirm(command, notification.held)
        case TellCustomer():
            return _tell(command, notification)
        case WithdrawLetter():
            if notification.letters.get(command.template) != "HELD" or notification.is_over(command.alert):
                return ()
            withdrawn = NotificationWithdrawn(order_id=command.order_id, template=command.template, alert=command.alert)
            return (withdrawn,)
        case RecordSent():
            if notification.letters.get(command.template) != "QUEUED":
                return ()
            sent = CustomerNotified(order_id=command.order_id, template=command.template, channel=command.channel)
            return (sent,)
        case RecordNotSent():
            if notification.letters.get(command.template) != "QUEUED":
                return ()
            failed = NotificationFailed(order_id=command.order_id, template=command.template, reason=command.reason)
            return (failed,)
        case _:
            assert_never(command)


def evolve(notification: Notification, event: NotificationEvent) -> Notification:
    """The letters after one of their events."""
    match event:
        case NotificationHeld():
            stage: Stage = "HELD"
            notification = replace(notification, held=(*notification.held, event))
        case NotificationQueued():
            stage = "QUEUED"
            waiting = tuple(letter for letter in notification.held if letter.template != event.template)
            email = event.email if event.template == "order_received" else notification.email
            notification = replace(notification, email=email, held=waiting)
        case NotificationWithdrawn():
            assert notification.letters[event.template] == "HELD", notification.letters
            waiting = tuple(letter for letter in notification.held if letter.template != event.template)
            others = {name: stage for name, stage in notification.letters.items() if name != event.template}
            return replace(
                notification, held=waiting, letters=others, alerts_over=max(notification.alerts_over, event.alert)
            )
        case CustomerNotified():
            assert notification.letters[event.template] == "QUEUED", notification.letters
            stage = "SENT"
        case NotificationFailed():
            assert notification.letters[event.template] == "QUEUED", notification.letters
            stage = "FAILED"
        case _:
            assert_never(event)
    return replace(notification, letters={**notification.letters, event.template: stage})


def _confirm(command: ConfirmReceipt, held: tuple[NotificationHeld, ...]) -> tuple[NotificationQueued, ...]:
    receipt = NotificationQueued(
        order_id=command.order_id,
        template="order_received",
        email=command.email,
        subject=command.subject,
        text=command.text,
    )
    return (receipt, *(_queued(letter, command.email) for letter in held))


def _tell(command: TellCustomer, notification: Notification) -> tuple[NotificationEvent, ...]:
    stage, email = notification.letters.get(command.template), command.email or notification.email
    if stage in ("QUEUED", "SENT", "FAILED") or notification.is_over(command.alert):
        return ()
    if email:
        return (_queued(command, email),)
    if stage == "HELD":
        return ()
    held = NotificationHeld(
        order_id=command.order_id, template=command.template, subject=command.subject, text=command.text
    )
    return (held,)


def _queued(letter: TellCustomer | NotificationHeld, email: str) -> NotificationQueued:
    return NotificationQueued(
        order_id=letter.order_id,
        template=letter.template,
        email=email,
        subject=letter.subject,
        text=letter.text,
    )
