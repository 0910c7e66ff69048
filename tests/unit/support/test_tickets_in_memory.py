"""Tickets in the whole shop, in virtual time: opened by trouble, told to the operator, closed by good news."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from msgspec.structs import replace

from contexts.bank.commands import Deposit, Some, Withdraw
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned
from contexts.support.commands import RateSupport, ResolveTicket
from shared.simulation.testing import Simulation, simulation
from tests.sagas import LOST, OVERDUE
from tests.unit.shopping import ending_of, fill_shelves, mails, order


@pytest.fixture
def running() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=2, operator_email="help@shop.example") as opened:
        fill_shelves(opened)
        yield opened


def tickets(shop: Simulation, key: str) -> dict[str, EmailMessage]:
    """The mails to the operator about an order, by case and occurrence."""
    letters = sorted((shop.directory / "mail").glob(f"ticket-{key}-*.eml"))
    return {
        letter.stem.removeprefix(f"ticket-{key}-"): message_from_bytes(letter.read_bytes(), policy=policy.default)
        for letter in letters
    }


def tracking_no(shop: Simulation, key: str) -> str:
    return str(shop.content(key, "OrderShipped")["tracking_no"])


def test_lost_parcel_has_a_ticket_until_the_money_is_back(running: Simulation) -> None:
    """P57, of a lost parcel."""
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(ReportLost(tracking_no=tracking_no(running, "o-1")), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", LOST)
    said = running.facts("o-1", of="support")
    assert sorted(said) == ["OperatorTold", "PriorityRaised", "TicketOpened", "TicketResolved"]
    mail = tickets(running, "o-1")["parcel_lost-1"]
    assert mail["To"] == "help@shop.example"
    assert mail["Subject"] == "Order o-1 needs you: parcel_lost (priority normal)"
    assert "chorus send support.ResolveTicket o-1 case=parcel_lost" in mail.get_content()


def test_refund_that_is_refused_three_times_has_a_ticket_until_it_is_given(running: Simulation) -> None:
    """P33, P57, F16: the merchant has spent the money, so the bank cannot give it back."""
    running.send(order(), key="o-1")
    running.run_until_quiet()
    total_minor = running.content("o-1", "OrderPlaced")["total"]["amount_minor"]
    taken = Some(amount_minor=total_minor)
    running.send(Withdraw(amount=taken, reference="rent"), key="merchant")
    running.send(ReportReturned(tracking_no=tracking_no(running, "o-1")), key="o-1")
    running.advance(minutes=1)
    assert running.facts("o-1", of="payments").count("RefundFailed") == 2
    assert "TicketOpened" not in running.facts("o-1")
    running.advance(minutes=1)
    assert running.facts("o-1", of="payments").count("RefundFailed") == 3
    opened = running.content("o-1", "TicketOpened")
    assert (opened["case"], opened["priority"], opened["occurrence"]) == ("refund", "high", 3)
    running.send(Deposit(amount=taken, reference="loan"), key="merchant")
    running.advance(hours=1)
    assert running.content("o-1", "TicketResolved")["case"] == "refund"
    assert running.facts("o-1", of="payments")[-1] == "PaymentRefunded"


def test_overdue_parcel_has_a_ticket_until_it_arrives(running: Simulation) -> None:
    """P57, of an overdue parcel."""
    running.send(order(), key="o-1")
    running.advance(days=29)
    ending_of(running, "o-1", OVERDUE)
    assert running.facts("o-1", of="support").count("TicketOpened") == 1
    assert running.content("o-1", "TroubleRepeated")["occurrence"] == 2
    running.send(ReportDelivered(tracking_no=tracking_no(running, "o-1")), key="o-1")
    running.run_until_quiet()
    assert running.content("o-1", "TicketResolved")["note"] == "the parcel has arrived"
    assert "ticket_resolved" in mails(running, "o-1")


def test_ticket_that_an_operator_resolves_opens_again_when_the_trouble_goes_on(running: Simulation) -> None:
    running.send(order(), key="o-1")
    running.advance(days=15)
    running.send(ResolveTicket(case="parcel_overdue", note="the carrier looks for it"), key="o-1")
    running.run_until_quiet()
    running.advance(days=14)
    assert running.facts("o-1", of="support").count("TicketOpened") == 2
    assert tickets(running, "o-1").keys() == {"parcel_overdue-1", "parcel_overdue-2"}
    running.send(RateSupport(score=5), key="o-1")
    running.run_until_quiet()
    assert running.content("o-1", "SupportRated")["score"] == 5


def test_case_without_a_ticket_is_refused(running: Simulation) -> None:
    running.send(ResolveTicket(case="parcel_lost", note="?"), key="o-1")
    running.send(RateSupport(score=1), key="o-2")
    running.run_until_quiet()
    reasons = [running.content(key, "CommandRejected")["reason"] for key in ("o-1", "o-2")]
    assert reasons == ["no_ticket", "no_ticket"]


def test_customer_who_cannot_be_written_to_has_one_ticket_for_all_letters(running: Simulation) -> None:
    """P57, of refused letters."""
    running.send(replace(order(), email="\u00e4nn@example.com"), key="o-1")
    running.run_until_quiet()
    assert running.facts("o-1", of="notifications").count("NotificationFailed") == 3
    said = sorted(running.facts("o-1", of="support"))
    assert said == ["OperatorTold", "PriorityRaised", "TicketOpened", "TroubleRepeated", "TroubleRepeated"]


def test_letter_that_is_refused_after_its_ticket_was_resolved_opens_it_again(running: Simulation) -> None:
    running.send(replace(order(), email="\u00e4nn@example.com"), key="o-1")
    running.run_until_quiet()
    running.send(ResolveTicket(case="letter", note="she will look at the shop"), key="o-1")
    running.run_until_quiet()
    running.send(ReportLost(tracking_no=tracking_no(running, "o-1")), key="o-1")
    running.run_until_quiet()
    opened = [event for event in running.facts("o-1", of="support") if event == "TicketOpened"]
    assert len(opened) == 3, "the letter, the lost parcel, and the letter again"
    assert {"letter-1", "letter-4"} <= tickets(running, "o-1").keys()


def test_shop_goes_on_without_support_and_its_tickets_come_late(running: Simulation) -> None:
    running.stop("support")
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(ReportLost(tracking_no=tracking_no(running, "o-1")), key="o-1")
    running.run_until_quiet()
    assert running.facts("o-1", of="payments")[-1] == "PaymentRefunded"
    running.start("support")
    running.run_until_quiet()
    assert running.facts("o-1", of="support").count("TicketResolved") == 1
