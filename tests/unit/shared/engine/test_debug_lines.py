"""At debug, each decision is one line: what was heard, which function gave the commands, and the events."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from shared.simulation.testing import simulation
from tests.unit.shopping import fill_shelves, order


def test_decision_names_the_policy_the_timer_or_the_call_that_gave_the_commands() -> None:
    with simulation(log_level="debug", dispatch_delay=timedelta(seconds=1)) as running:
        fill_shelves(running)
        with capture_logs() as lines:
            running.send(order(), key="o-1")
            running.run_until_quiet()
            running.advance(seconds=2)
    decided = [line for line in lines if line["event"] == "decided" and line["saga"] == "o-1"]

    def the_one(heard: str, event: str) -> Mapping[str, Any]:
        return next(line for line in decided if line["heard"] == heard and event in line["events"])

    assert the_one("PlaceOrder", "OrderPlaced")["given_by"] == "a client"
    reserved = the_one("OrderPlaced", "InventoryReserved")
    assert reserved["given_by"] == "whenever_order_placed_reserve_its_lines"
    assert the_one("AuthorizationRequested", "PaymentAuthorized")["given_by"] == "authorize"
    assert the_one("PlaceHold", "HoldPlaced")["given_by"] == "a request"
    shipped = the_one("DispatchDue", "DispatchRequested")
    assert shipped["given_by"] == "whenever_dispatch_is_due_hand_the_parcel_over"
