"""The decisions of shipping: every command in every state, in every order of the three facts."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations

import pytest
from msgspec.structs import replace

from contexts.kernel import Address, OrderId
from contexts.shipping.commands import (
    CancelShipment,
    Dispatch,
    MeetRequirement,
    NoteSilence,
    RecordDispatched,
    RecordDispatchRefused,
    Report,
    ReportDelivered,
    ReportLost,
    ReportReturned,
    ShipmentCommand,
)
from contexts.shipping.events import (
    DeliveryScheduled,
    DispatchRequested,
    OrderDelivered,
    OrderShipped,
    ParcelOverdue,
    ShipmentCancelled,
    ShipmentEvent,
    ShipmentFailed,
    ShipmentRequirementMet,
)
from contexts.shipping.policies import timers
from contexts.shipping.shipment import Shipment, evolve
from contexts.shipping.shipment import decide as decide_with_delay
from shared.context import Rejected

DELAY = timedelta(hours=1)
SILENCE = timedelta(days=14)
decide_at_once = partial(decide_with_delay, dispatch_delay=timedelta(0))
decide = partial(decide_with_delay, dispatch_delay=DELAY)

ORDER = OrderId("o-42")
ADDRESS = Address(street="Hoofdweg 1", city="Amsterdam", country="NL", postal_code="1011 AB")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

RESERVE = MeetRequirement(order_id=ORDER, requirement="reserved", met_at=NOON)
PAY = MeetRequirement(order_id=ORDER, requirement="paid", met_at=NOON)
CONFIRM = MeetRequirement(order_id=ORDER, requirement="confirmed", met_at=NOON, address=ADDRESS)
DISPATCH = Dispatch(order_id=ORDER)
CANCEL = CancelShipment(order_id=ORDER, reason="customer")
TAKEN = RecordDispatched(order_id=ORDER, tracking_no="T-1", carrier="Post", shipped_at=NOON)
NOT_TAKEN = RecordDispatchRefused(order_id=ORDER, reason="not_served")
SILENT, STILL_SILENT = (NoteSilence(order_id=ORDER, shipped_at=NOON, times=times) for times in (1, 2))
REPORT_DELIVERED = ReportDelivered(order_id=ORDER, tracking_no="T-1", said_at=NOON)
REPORT_LOST = ReportLost(order_id=ORDER, tracking_no="T-1")
REPORT_RETURNED = ReportReturned(order_id=ORDER, tracking_no="T-1")
REPORTS: tuple[Report, ...] = (REPORT_DELIVERED, REPORT_LOST, REPORT_RETURNED)

RESERVED = ShipmentRequirementMet(order_id=ORDER, requirement="reserved")
PAID = ShipmentRequirementMet(order_id=ORDER, requirement="paid")
CONFIRMED = ShipmentRequirementMet(order_id=ORDER, requirement="confirmed", address=ADDRESS)
SCHEDULED = DeliveryScheduled(order_id=ORDER, dispatch_at=NOON + DELAY, address=ADDRESS)
REQUESTED = DispatchRequested(order_id=ORDER, address=ADDRESS)
SHIPPED = OrderShipped(order_id=ORDER, tracking_no="T-1", carrier="Post", shipped_at=NOON)
CANCELLED = ShipmentCancelled(order_id=ORDER, reason="customer")
REFUSED = ShipmentFailed(order_id=ORDER, stage="before_dispatch", reason="not_served")
LOST = ShipmentFailed(order_id=ORDER, stage="lost", reason="lost_by_carrier")
RETURNED = ShipmentFailed(order_id=ORDER, stage="returned", reason="returned_to_sender")
OVERDUE, STILL_OVERDUE = (
    ParcelOverdue(order_id=ORDER, tracking_no="T-1", shipped_at=NOON, times=times) for times in (1, 2)
)
DELIVERED = OrderDelivered(order_id=ORDER, tracking_no="T-1", delivered_at=NOON)

READY = (RESERVED, PAID, SCHEDULED)
ON_ITS_WAY = (*READY, REQUESTED, SHIPPED)
HISTORIES: dict[str, tuple[ShipmentEvent, ...]] = {
    "unknown": (),
    "reserved": (RESERVED,),
    "confirmed_and_paid": (CONFIRMED, PAID),
    "ready": READY,
    "dispatching": (*READY, REQUESTED),
    "dispatched": ON_ITS_WAY,
    "overdue": (*ON_ITS_WAY, OVERDUE),
    "overdue_and_delivered": (*ON_ITS_WAY, OVERDUE, DELIVERED),
    "delivered": (*ON_ITS_WAY, DELIVERED),
    "lost": (*ON_ITS_WAY, LOST),
    "returned": (*ON_ITS_WAY, RETURNED),
    "refused": (*READY, REQUESTED, REFUSED),
    "cancelled": (RESERVED, CANCELLED),
    "forbidden": (CANCELLED,),
}
COMMANDS: tuple[ShipmentCommand, ...] = (
    RESERVE,
    PAY,
    CONFIRM,
    DISPATCH,
    CANCEL,
    TAKEN,
    NOT_TAKEN,
    SILENT,
    STILL_SILENT,
    REPORT_DELIVERED,
    REPORT_LOST,
    REPORT_RETURNED,
)
ANSWERS: dict[tuple[str, ShipmentCommand], tuple[ShipmentEvent, ...]] = {
    ("unknown", RESERVE): (RESERVED,),
    ("unknown", PAY): (PAID,),
    ("unknown", CONFIRM): (CONFIRMED,),
    ("unknown", CANCEL): (CANCELLED,),
    ("reserved", PAY): (PAID,),
    ("reserved", CONFIRM): (CONFIRMED,),
    ("reserved", CANCEL): (CANCELLED,),
    ("confirmed_and_paid", RESERVE): (SCHEDULED,),
    ("confirmed_and_paid", CANCEL): (CANCELLED,),
    ("ready", DISPATCH): (REQUESTED,),
    ("ready", CANCEL): (CANCELLED,),
    ("dispatching", TAKEN): (SHIPPED,),
    ("dispatching", NOT_TAKEN): (REFUSED,),
    ("dispatched", SILENT): (OVERDUE,),
    ("overdue", STILL_SILENT): (STILL_OVERDUE,),
    ("overdue", REPORT_DELIVERED): (DELIVERED,),
    ("overdue", REPORT_LOST): (LOST,),
    ("overdue", REPORT_RETURNED): (RETURNED,),
    ("dispatched", REPORT_DELIVERED): (DELIVERED,),
    ("dispatched", REPORT_LOST): (LOST,),
    ("dispatched", REPORT_RETURNED): (RETURNED,),
}
"""Every answer there is but the refusals below; any other command is too early, too late or asked before."""


def after(*events: ShipmentEvent) -> Shipment:
    shipment = Shipment()
    for event in events:
        shipment = evolve(shipment, event)
    return shipment


def named(value: object) -> str:
    """The test id of a command, or of several; of a requirement its name."""
    match value:
        case tuple():
            return "-".join(map(named, value))
        case MeetRequirement(requirement=requirement):
            return requirement
        case _:
            return value if isinstance(value, str) else type(value).__name__


def refusal(history: str, command: ShipmentCommand) -> str | None:
    if not isinstance(command, Report) or history in ("dispatched", "overdue"):
        return None
    history = history.removeprefix("overdue_and_")
    if history in ("delivered", "lost", "returned"):
        said_before = {"delivered": ReportDelivered, "lost": ReportLost, "returned": ReportReturned}[history]
        return None if isinstance(command, said_before) else f"already_{history}"
    return "not_dispatched"


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_every_command_in_every_state(history: str, command: ShipmentCommand) -> None:
    answer = decide(command, after(*HISTORIES[history]))
    refused = refusal(history, command)
    if refused is None:
        assert answer == ANSWERS.get((history, command), ())
    else:
        assert [event.reason for event in answer if isinstance(event, Rejected)] == [refused]


@pytest.mark.parametrize(("history", "command"), ANSWERS, ids=named)
def test_asking_twice_gives_the_answer_once(history: str, command: ShipmentCommand) -> None:
    events = HISTORIES[history]
    assert decide(command, after(*events, *ANSWERS[history, command])) == ()


@pytest.mark.parametrize("facts", list(permutations((RESERVE, PAY, CONFIRM))), ids=named)
def test_delivery_is_scheduled_once_with_all_three_facts_in_any_order(facts: tuple[MeetRequirement, ...]) -> None:
    history: tuple[ShipmentEvent, ...] = ()
    for fact in (*facts[:2], *facts[:2]):
        history += decide(fact, after(*history))  # type: ignore[operator]  # No refusals among them.
    assert {type(event) for event in history} == {ShipmentRequirementMet}
    assert decide(facts[2], after(*history)) == (SCHEDULED,)
    for fact in facts:
        assert decide(fact, after(*history, SCHEDULED)) == ()


def test_without_a_delay_the_parcel_is_handed_over_at_once() -> None:
    scheduled = replace(SCHEDULED, dispatch_at=NOON)
    assert decide_at_once(CONFIRM, after(RESERVED, PAID)) == (scheduled, REQUESTED)
    assert decide_at_once(CONFIRM, after(RESERVED, PAID, scheduled, REQUESTED)) == ()


def test_last_fact_is_the_one_that_the_delay_counts_from() -> None:
    later = replace(CONFIRM, met_at=NOON + timedelta(minutes=5))
    (scheduled,) = decide(later, after(RESERVED, PAID))
    assert isinstance(scheduled, DeliveryScheduled)
    assert scheduled.dispatch_at == NOON + timedelta(minutes=65)


@pytest.mark.parametrize("fact", [RESERVE, PAY, CONFIRM], ids=named)
def test_cancellation_that_comes_first_forbids_the_delivery(fact: MeetRequirement) -> None:
    assert decide(CANCEL, after()) == (CANCELLED,)
    assert decide(fact, after(CANCELLED)) == ()


def test_cancellation_before_the_dispatch_leaves_the_timer_nothing_to_do() -> None:
    assert decide(DISPATCH, after(*READY, CANCELLED)) == ()


@pytest.mark.parametrize("history", ["dispatching", "dispatched", "delivered", "lost", "returned", "refused"])
def test_cancellation_after_the_carrier_was_asked_is_quiet(history: str) -> None:
    assert decide(CANCEL, after(*HISTORIES[history])) == ()


@pytest.mark.parametrize("history", ["dispatched", "delivered"])
@pytest.mark.parametrize("report", REPORTS, ids=named)
def test_report_of_another_parcel_is_refused(history: str, report: Report) -> None:
    answer = decide(replace(report, tracking_no="T-2"), after(*HISTORIES[history]))
    assert answer == (Rejected.at("other_tracking_no", "$.tracking_no", "the parcel of this order has another one"),)


def test_parcel_that_was_delivered_cannot_come_back_as_a_failed_shipment() -> None:
    (refused,) = decide(REPORT_RETURNED, after(*ON_ITS_WAY, DELIVERED))
    assert isinstance(refused, Rejected)
    assert refused.reason == "already_delivered"


def test_dispatch_is_armed_only_when_there_is_a_delay() -> None:
    (with_delay, *_), (without, *_) = timers(DELAY, SILENCE), timers(timedelta(0), SILENCE)
    assert with_delay.at(SCHEDULED) == NOON + DELAY
    assert without.at(SCHEDULED) is None
    assert with_delay.whenever_due(SCHEDULED) == without.whenever_due(SCHEDULED) == [DISPATCH]


def test_silence_is_said_after_each_period_until_there_is_news() -> None:
    """Each time counts from the dispatch, so a late timer moves none of the later ones."""
    _, first, further = timers(DELAY, SILENCE)
    assert (first.at(SHIPPED), further.at(OVERDUE)) == (NOON + SILENCE, NOON + 2 * SILENCE)
    assert further.at(STILL_OVERDUE) == NOON + 3 * SILENCE
    assert (first.whenever_due(SHIPPED), further.whenever_due(OVERDUE)) == ([SILENT], [STILL_SILENT])
