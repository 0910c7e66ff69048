"""Support's call to the outside: it tells the operator of a ticket by mail."""

from contexts.mail import LETTERS_AT_ONCE, Mailer, written
from contexts.support.commands import RecordOperatorNotTold, RecordOperatorTold
from contexts.support.events import TicketOpened
from contexts.support.policies import STOCK
from shared.context import Call, Effect
from shared.wire.messages import check_key


class Desk:
    """Writes to the operator about a ticket, and brings the outcome back as a command."""

    def __init__(self, mailer: Mailer, sender: str, operator: str) -> None:
        self._mailer = mailer
        self._sender = sender
        self._operator = operator

    async def tell(self, opened: TicketOpened, call: Call) -> RecordOperatorTold | RecordOperatorNotTold:
        """Send one mail; a ticket that is opened again is told again."""
        order_id, case = check_key(opened.order_id), check_key(opened.case)
        letter = written(
            f"ticket-{order_id}-{case}-{opened.occurrence}",
            sender=self._sender,
            recipient=self._operator,
            subject=f"{_about(opened)} needs you: {case} (priority {opened.priority})",
            text=_text(opened),
            date=call.now,
            idempotency_key=call.idempotency_key,
        )
        refusal = "address_refused" if letter is None else await self._mailer.send(letter)
        if refusal is None:
            return RecordOperatorTold(order_id=opened.order_id, case=opened.case, channel=self._mailer.channel)
        return RecordOperatorNotTold(order_id=opened.order_id, case=opened.case, reason=refusal)

    def effects(self, timeout_s: float) -> tuple[Effect, ...]:
        """The whole table of calls; after `timeout_s` the outcome of one is unknown."""
        return (
            Effect(
                asked_by=TicketOpened,
                call=self.tell,
                outcomes=(RecordOperatorTold, RecordOperatorNotTold),
                timeout_s=timeout_s,
                at_once=LETTERS_AT_ONCE,
            ),
        )


def _text(opened: TicketOpened) -> str:
    return "\n".join(
        (
            f"{_about(opened)}: {opened.why}.",
            "",
            f"See what happened: chorus timeline {opened.order_id}",
            "Close the ticket, unless good news does so:",
            f"chorus send support.ResolveTicket {opened.order_id} case={opened.case} note='…'",
            "",
        )
    )


def _about(opened: TicketOpened) -> str:
    """The thing that the case is about: an order, or an article under its sku."""
    return f"{'Article' if opened.case == STOCK else 'Order'} {opened.order_id}"
