"""The text of the letters; a customer's words cannot get into their headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest

from contexts.kernel import MailChannel, MailRefusal, Money, OrderId
from contexts.mail import Letter
from contexts.notifications import policies
from contexts.notifications.commands import RecordNotSent, RecordSent
from contexts.notifications.effects import Postbox
from contexts.notifications.events import NotificationQueued
from contexts.notifications.upstream import OrderCancelled, OrderPlaced, OrderShipped

ORDER = OrderId("o-42")
SENDER = "shop@chorus.example"
KEY = "notifications/notification-o-42@1"
LINE_AT_MOST = 78
"""Characters that RFC 5322 asks of a line."""
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Pile:
    """A mailer that keeps every letter, and refuses it when told to."""

    channel: MailChannel = "directory"

    def __init__(self, refusal: MailRefusal | None = None) -> None:
        self.letters: list[Letter] = []
        self._refusal = refusal

    async def send(self, letter: Letter) -> MailRefusal | None:
        self.letters.append(letter)
        return self._refusal


@dataclass
class FirstCall:
    """A call that needs no NATS."""

    idempotency_key: str = KEY
    attempt: int = 1
    now: datetime = NINE

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        raise AssertionError(f"a letter asks nobody, not even {subject}: {headers} {body!r}")


def queued(email: str = "ada@shop.example", subject: str = "Your order") -> NotificationQueued:
    return NotificationQueued(
        order_id=ORDER, template="order_received", email=email, subject=subject, text="Hello,\nthank you, Ada Grün.\n"
    )


async def test_letter_says_who_what_and_when() -> None:
    pile = Pile()
    sent = await Postbox(pile, SENDER).mail(queued(), FirstCall())
    assert sent == RecordSent(order_id=ORDER, template="order_received", channel="directory")
    (letter,) = pile.letters
    assert letter[:3] == ("o-42-order_received", SENDER, "ada@shop.example")
    mail = message_from_bytes(letter.content, policy=default)
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "ada@shop.example", "Your order")
    assert mail["Date"] == "Sat, 21 Nov 2026 09:00:00 +0000"
    assert mail.get_content() == "Hello,\r\nthank you, Ada Grün.\r\n"
    assert mail.defects == []
    assert letter.content.isascii()
    assert letter.content.count(b"\n") == letter.content.count(b"\r\n")


async def test_letter_of_the_same_event_has_the_same_message_id() -> None:
    pile = Pile()
    postbox = Postbox(pile, SENDER)
    await postbox.mail(queued(), FirstCall())
    await postbox.mail(queued(), FirstCall(attempt=2))
    await postbox.mail(queued(), FirstCall("notifications/notification-o-42@2"))
    first, again, other = [message_from_bytes(letter.content)["Message-ID"] for letter in pile.letters]
    assert first == again != other
    assert first.endswith("@chorus.example>")


@pytest.mark.parametrize("refusal", ["address_refused", "letter_refused"])
async def test_refusal_comes_back_as_the_outcome(refusal: MailRefusal) -> None:
    outcome = await Postbox(Pile(refusal), SENDER).mail(queued(), FirstCall())
    assert outcome == RecordNotSent(order_id=ORDER, template="order_received", reason=refusal)


@pytest.mark.parametrize(
    "email",
    [
        "ada@shop.example\r\nBcc: eve@shop.example",
        "ada@shop.example, eve@shop.example",
        "Ada <ada@shop.example>",
        "ada",
        "",
    ],
)
async def test_address_that_is_more_than_one_address_is_refused(email: str) -> None:
    pile = Pile()
    outcome = await Postbox(pile, SENDER).mail(queued(email=email), FirstCall())
    assert outcome == RecordNotSent(order_id=ORDER, template="order_received", reason="address_refused")
    assert pile.letters == []


@pytest.mark.parametrize("subject", ["Grüße", "Hello", "Hello " * 30], ids=["accents", "plain", "long"])
async def test_subject_stays_one_line_in_any_language(subject: str) -> None:
    pile = Pile()
    await Postbox(pile, SENDER).mail(queued(subject=f"{subject}\r\nBcc: eve@shop.example"), FirstCall())
    mail = message_from_bytes(pile.letters[0].content, policy=default)
    assert mail["Subject"] == f"{subject.strip()} Bcc: eve@shop.example"
    assert mail["Bcc"] is None
    assert max(map(len, pile.letters[0].content.split(b"\r\n"))) <= LINE_AT_MOST


def test_receipt_names_the_total() -> None:
    placed = OrderPlaced(order_id=ORDER, email="ada@shop.example", total=Money(amount_minor=4205))
    (receipt,) = policies.whenever_order_placed_confirm_its_receipt(placed)
    assert "42.05 EUR" in receipt.text


@pytest.mark.parametrize(("currency", "spelled"), [("JPY", "of 4205 JPY."), ("KWD", "of 4.205 KWD.")])
def test_amount_is_spelled_as_its_currency_is(currency: str, spelled: str) -> None:
    placed = OrderPlaced(order_id=ORDER, email="a@b", total=Money(amount_minor=4205, currency=currency))
    (receipt,) = policies.whenever_order_placed_confirm_its_receipt(placed)
    assert spelled in receipt.text


def test_customer_learns_why_the_order_was_cancelled() -> None:
    (told,) = policies.whenever_order_cancelled_tell_the_customer(OrderCancelled(order_id=ORDER, reason="out_of_stock"))
    assert told.subject == "Your order o-42 is cancelled"
    assert "We do not have everything you ordered." in told.text


def test_customer_learns_the_number_of_the_parcel() -> None:
    shipped = OrderShipped(order_id=ORDER, tracking_no="T-1", carrier="Slowpost")
    (told,) = policies.whenever_order_shipped_tell_the_customer(shipped)
    assert "Your parcel is with Slowpost; its number is T-1." in told.text
