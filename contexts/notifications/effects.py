"""Notifications' call to the outside: it sends a letter."""

from contexts.mail import LETTERS_AT_ONCE, Mailer, written
from contexts.notifications.commands import RecordNotSent, RecordSent
from contexts.notifications.events import NotificationQueued
from shared.context import Call, Effect
from shared.wire.messages import check_key


class Postbox:
    """Turns what was queued into a letter, hands it to a mailer, and brings the outcome back as a command."""

    def __init__(self, mailer: Mailer, sender: str) -> None:
        self._mailer = mailer
        self._sender = sender

    async def mail(self, queued: NotificationQueued, call: Call) -> RecordSent | RecordNotSent:
        """Send one letter."""
        letter = written(
            f"{check_key(queued.order_id)}-{queued.template}",
            sender=self._sender,
            recipient=queued.email,
            subject=queued.subject,
            text=queued.text,
            date=call.now,
            idempotency_key=call.idempotency_key,
        )
        refusal = "address_refused" if letter is None else await self._mailer.send(letter)
        if refusal is None:
            return RecordSent(order_id=queued.order_id, template=queued.template, channel=self._mailer.channel)
        return RecordNotSent(order_id=queued.order_id, template=queued.template, reason=refusal)

    def effects(self, timeout_s: float) -> tuple[Effect, ...]:
        """The whole table of calls; after `timeout_s` the outcome of one is unknown."""
        return (
            Effect(
                asked_by=NotificationQueued,
                call=self.mail,
                outcomes=(RecordSent, RecordNotSent),
                timeout_s=timeout_s,
                at_once=LETTERS_AT_ONCE,
            ),
        )
