"""Support opens one ticket per case, closes it at good news, and knows how much a customer matters."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from contexts.kernel import OrderId
from contexts.support import customer, ticket
from contexts.support.commands import (
    CloseTicket,
    OpenTicket,
    RateSupport,
    RecordOperatorNotTold,
    RecordOperatorTold,
    ResolveTicket,
    TicketCommand,
)
from contexts.support.customer import Customer
from contexts.support.events import (
    CustomerEvent,
    OperatorNotTold,
    OperatorTold,
    PriorityRaised,
    SupportRated,
    TicketEvent,
    TicketOpened,
    TicketResolved,
    TroubleRepeated,
)
from contexts.support.policies import (
    whenever_payment_refunded_close_its_tickets,
    whenever_shipment_failed_open_a_ticket_for_a_lost_parcel,
)
from contexts.support.ticket import REFUND_FAILURES, Ticket, decide
from contexts.support.upstream import PaymentRefunded, ShipmentFailed
from shared.context import Rejected

ORDER = OrderId("o-42")
OPEN = OpenTicket(order_id=ORDER, case="parcel_lost", why="it is lost")
OPEN_AGAIN = replace(OPEN, occurrence=2)
CLOSE = CloseTicket(order_id=ORDER, case="parcel_lost", note="the money is back")
RESOLVE = ResolveTicket(order_id=ORDER, case="parcel_lost", note="found it")
TOLD = RecordOperatorTold(order_id=ORDER, case="parcel_lost", channel="smtp")
NOT_TOLD = RecordOperatorNotTold(order_id=ORDER, case="parcel_lost", reason="address_refused")
COMMANDS: tuple[TicketCommand, ...] = (OPEN, OPEN_AGAIN, CLOSE, RESOLVE, TOLD, NOT_TOLD)

OPENED = TicketOpened(order_id=ORDER, case="parcel_lost", why="it is lost", priority="normal")
OPENED_AGAIN = replace(OPENED, occurrence=2)
REPEATED = TroubleRepeated(order_id=ORDER, case="parcel_lost", occurrence=2)
CLOSED = TicketResolved(order_id=ORDER, case="parcel_lost", note="the money is back")
RESOLVED = replace(CLOSED, note="found it")
TOLD_IT = OperatorTold(order_id=ORDER, case="parcel_lost", channel="smtp")
NOT_TOLD_IT = OperatorNotTold(order_id=ORDER, case="parcel_lost", reason="address_refused")
RAISED = PriorityRaised(order_id=ORDER, priority="normal")
NO_TICKET = Rejected.at("no_ticket", "$.case", "there is no ticket of this case")

HISTORIES: dict[str, tuple[TicketEvent, ...]] = {
    "new": (),
    "open": (OPENED,),
    "open_and_told": (OPENED, TOLD_IT),
    "open_and_not_told": (OPENED, NOT_TOLD_IT),
    "repeated": (OPENED, TOLD_IT, REPEATED),
    "repeated_and_resolved": (OPENED, TOLD_IT, REPEATED, RESOLVED),
    "resolved": (OPENED, TOLD_IT, RESOLVED),
    "open_again": (OPENED, TOLD_IT, RESOLVED, OPENED_AGAIN),
}
ANSWERS: dict[tuple[str, TicketCommand], tuple[object, ...]] = {
    ("new", OPEN): (OPENED, RAISED),
    ("new", OPEN_AGAIN): (OPENED_AGAIN, RAISED),
    ("new", RESOLVE): (NO_TICKET,),
    ("new", TOLD): (TOLD_IT,),
    ("new", NOT_TOLD): (NOT_TOLD_IT,),
    ("open", OPEN_AGAIN): (REPEATED,),
    ("open_and_told", OPEN_AGAIN): (REPEATED,),
    ("open_and_not_told", OPEN_AGAIN): (REPEATED,),
    ("repeated", CLOSE): (CLOSED,),
    ("repeated", RESOLVE): (RESOLVED,),
    ("open", CLOSE): (CLOSED,),
    ("open", RESOLVE): (RESOLVED,),
    ("open", TOLD): (TOLD_IT,),
    ("open", NOT_TOLD): (NOT_TOLD_IT,),
    ("open_and_told", CLOSE): (CLOSED,),
    ("open_and_told", RESOLVE): (RESOLVED,),
    ("open_and_not_told", CLOSE): (CLOSED,),
    ("open_and_not_told", RESOLVE): (RESOLVED,),
    ("resolved", OPEN_AGAIN): (OPENED_AGAIN, RAISED),
    ("open_again", CLOSE): (CLOSED,),
    ("open_again", RESOLVE): (RESOLVED,),
    ("open_again", TOLD): (TOLD_IT,),
    ("open_again", NOT_TOLD): (NOT_TOLD_IT,),
}
"""Every answer there is; any other command was answered before, or has nothing to close."""


def after(*events: TicketEvent) -> Ticket:
    state = Ticket()
    for event in events:
        state = ticket.evolve(state, event)
    return state


def known(*events: CustomerEvent) -> Mapping[str, Customer]:
    state = Customer()
    for event in events:
        state = customer.evolve(state, event)
    return {ORDER: state}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(history: str, command: TicketCommand) -> None:
    assert decide(command, after(*HISTORIES[history]), known()) == ANSWERS.get((history, command), ())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_asking_twice_gives_the_answer_once(command: TicketCommand) -> None:
    for events in HISTORIES.values():
        answer = [e for e in decide(command, after(*events), known()) if isinstance(e, TicketEvent)]
        again = decide(command, after(*events, *answer), known(RAISED))
        assert [event for event in again if not isinstance(event, Rejected)] == []


def test_refund_needs_a_person_at_its_third_refusal_and_not_before() -> None:
    refused = OpenTicket(order_id=ORDER, case="refund", why="refused", occurrence=REFUND_FAILURES)
    assert decide(replace(refused, occurrence=REFUND_FAILURES - 1), after(), known()) == ()
    opened, raised = decide(refused, after(), known())
    assert isinstance(opened, TicketOpened)
    assert (opened.priority, raised) == ("high", PriorityRaised(order_id=ORDER, priority="high"))


def test_trouble_with_a_name_counts_once_and_opens_a_resolved_case_when_it_is_another() -> None:
    received = OpenTicket(order_id=ORDER, case="letter", why="refused", trouble="order_received")
    cancelled = replace(received, trouble="order_cancelled")
    opened = TicketOpened(order_id=ORDER, case="letter", why="refused", priority="normal", trouble="order_received")
    assert decide(received, after(), known()) == (opened, RAISED)
    resolved = (opened, TicketResolved(order_id=ORDER, case="letter", note="she was called"))
    assert decide(received, after(*resolved), known(RAISED)) == ()
    (again,) = decide(cancelled, after(*resolved), known(RAISED, PriorityRaised(order_id=ORDER, priority="high")))
    assert again == replace(opened, priority="high", trouble="order_cancelled", occurrence=2)
    assert decide(received, after(*resolved, again), known()) == ()


def test_customer_with_a_second_trouble_has_high_priority() -> None:
    opened, raised = decide(OPEN, after(), known(RAISED))
    assert opened == replace(OPENED, priority="high")
    assert raised == PriorityRaised(order_id=ORDER, priority="high")
    assert decide(OPEN, after(), known(RAISED, raised)) == (opened,)


def test_last_rating_of_a_customer_counts() -> None:
    rate = RateSupport(order_id=ORDER, score=4)
    rated = SupportRated(order_id=ORDER, score=4)
    assert customer.decide(rate, known(RAISED)[ORDER]) == (rated,)
    assert customer.decide(rate, known(RAISED, rated)[ORDER]) == ()
    assert known(RAISED, rated, replace(rated, score=2))[ORDER].satisfaction == 2


def test_customer_for_whom_support_did_nothing_has_nothing_to_rate() -> None:
    (refused,) = customer.decide(RateSupport(order_id=ORDER, score=1), known()[ORDER])
    assert isinstance(refused, Rejected)
    assert refused.reason == "no_ticket"


def test_refund_closes_the_ticket_of_a_lost_parcel_too() -> None:
    cases = [one.case for one in whenever_payment_refunded_close_its_tickets(PaymentRefunded(order_id=ORDER))]
    assert cases == ["refund", "parcel_lost"]


@pytest.mark.parametrize("stage", ["before_dispatch", "returned"])
def test_parcel_that_is_here_needs_nobody(stage: str) -> None:
    failed = ShipmentFailed(order_id=ORDER, stage=stage)  # type: ignore[arg-type]
    (news,) = whenever_shipment_failed_open_a_ticket_for_a_lost_parcel(failed)
    assert isinstance(news, CloseTicket)
