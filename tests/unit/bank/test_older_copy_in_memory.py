"""The bank with an older copy of its database, of which EVENTS knows nothing: payments knows its answers (R25)."""

import shutil
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import fill_shelves, order


@pytest.fixture
def running() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=2, log_level="error") as opened:
        fill_shelves(opened)
        yield opened


def backed_up(shop: Simulation) -> None:
    """Copy the bank's database while it is stopped."""
    shop.stop("bank")
    shutil.copy(shop.directory / "bank.db", shop.directory / "backup.db")
    shop.start("bank")
    shop.run_until_quiet()


def killed_and_restored(shop: Simulation) -> None:
    """Kill the bank, and start it again with the copy."""
    shop.kill("bank")
    for log in ("-wal", "-shm"):
        (shop.directory / f"bank.db{log}").unlink(missing_ok=True)
    shutil.copy(shop.directory / "backup.db", shop.directory / "bank.db")
    shop.start("bank")


def paid(shop: Simulation, key: str) -> None:
    """Place an order, and go on until payments knows that it is paid."""
    shop.send(order(), key=key)
    while "PaymentSucceeded" not in shop.facts(key, of="payments"):
        shop.advance(seconds=0.001)


def alarms(logs: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in logs if line["event"] == event and line["kind"] == "service"]


def test_bank_that_forgot_what_it_never_published_is_noticed_by_payments(running: Simulation) -> None:
    running.send(order(), key="o-0")
    running.run_until_quiet()
    backed_up(running)
    paid(running, "o-1")
    published = running.rows(
        "bank", "SELECT count(*) FROM journal WHERE published_seq IS NOT NULL AND body LIKE '%o-1%'"
    )
    assert published == [(0,)], "else the bank itself notices, by EVENTS"
    with capture_logs() as logs:
        killed_and_restored(running)
        running.send(order(), key="o-2")
        running.run_until_quiet()
    (raised,) = alarms(logs, "alarm raised")
    assert raised["subject"] == "svc.bank.lookup"
    assert "older copy of its database" in raised["reason"]
    assert {line["saga"] for line in logs if line["event"] == "a service does not know an answer that it gave"} == {
        "o-1"
    }


def test_bank_that_was_killed_and_has_all_its_answers_raises_no_alarm(running: Simulation) -> None:
    paid(running, "o-1")
    with capture_logs() as logs:
        running.kill("bank")
        running.start("bank")
        running.send(order(), key="o-2")
        running.run_until_quiet()
    assert alarms(logs, "alarm raised") == []
