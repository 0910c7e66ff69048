"""`api.CONTEXT.list` and `chorus ls`: the sagas of a system, with their status and what holds them up."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from contexts.sagas import ORDER
from shared.context import Context
from shared.engine.questions.listing import COUNTS_LAST_TIMES, ListingQuestion
from shared.inspect.asking import NoAnswerError
from shared.inspect.sagas.listing import Listing, Selection, field_names, leading, list_sagas
from shared.simulation.testing import Simulation, simulation
from shared.wire.listing import AggregateList
from shared.wire.messages import MSG_ID
from tests.unit.shopping import fill_shelves, order


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=2) as running:
        fill_shelves(running)
        yield running


def contexts(shop: Simulation) -> list[Context]:
    return [*shop._world.members.values()]


def listed(shop: Simulation, **asked: Any) -> AggregateList:
    answer = shop.request("api.ordering.list", msgspec.json.encode(asked))
    return msgspec.json.decode(answer, type=AggregateList)


def ls(shop: Simulation, **selected: Any) -> Listing:
    return shop.run(list_sagas(shop._broker, ORDER, contexts(shop), Selection(**selected), shop.now))


def place(shop: Simulation, *keys: str, token: str = "tok_ok") -> None:
    for key in keys:
        shop.send(order(token=token), key=key, message_id=f"m-{key}")
        shop.run_until_quiet()


class Counting:
    """A reader whose counts take a second, by a clock of its own, and the clock."""

    def __init__(self) -> None:
        self.counted = 0
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def statuses(self, name: str) -> dict[str, int]:
        assert name == "order"
        self.counted += 1
        self.now_s += 1.0
        return {"SHIPPED": self.counted}


def test_counts_that_take_long_stand_for_many_times_as_long(shop: Simulation) -> None:
    counting: Any = Counting()
    question = ListingQuestion(next(one for one in contexts(shop) if one.name == "ordering"), counting, counting)
    assert [question._count(counting, "order") for _ in range(3)] == [{"SHIPPED": 1}] * 3
    counting.now_s += COUNTS_LAST_TIMES
    assert question._count(counting, "order") == {"SHIPPED": 2}


class TestList:
    def test_aggregates_come_newest_first_with_status_and_last_event(self, shop: Simulation) -> None:
        place(shop, "o-1")
        place(shop, "o-2", token="tok_poor")
        found = listed(shop, aggregate="order", counted=True)
        assert [(one.key, one.status, one.last_event) for one in found.items] == [
            ("o-2", "CANCELLED", "OrderCancelled"),
            ("o-1", "SHIPPED", "ShipmentRecorded"),
        ]
        assert found.counts == {"CANCELLED": 1, "SHIPPED": 1}
        assert found.items[1].began_at < found.items[1].last_at < found.items[0].began_at

    def test_pages_follow_each_other_in_both_directions(self, shop: Simulation) -> None:
        place(shop, "o-1", "o-2", "o-3")
        newest = listed(shop, limit=2)
        assert [one.key for one in (*newest.items, *listed(shop, limit=2, after=newest.next).items)] == [
            "o-3",
            "o-2",
            "o-1",
        ]
        oldest = listed(shop, limit=2, oldest_first=True)
        rest = listed(shop, limit=2, oldest_first=True, after=oldest.next)
        assert [one.key for one in (*oldest.items, *rest.items)] == ["o-1", "o-2", "o-3"]
        assert rest.next == 0

    def test_fields_choose_at_any_depth_and_only_by_the_whole_value(self, shop: Simulation) -> None:
        place(shop, "o-1", "o-2")
        assert [one.key for one in listed(shop, fields={"order_id": "o-1"}).items] == ["o-1"]
        assert listed(shop, fields={"order_id": "o-"}).items == ()
        assert listed(shop, fields={"order_id": '"'}).items == ()
        assert len(listed(shop, fields={"currency": "EUR", "cancellation_refused": "false"}).items) == 2
        assert listed(shop, fields={"currency": "EUR", "cancellation_refused": "true"}).items == ()

    def test_statuses_keys_times_and_events_choose(self, shop: Simulation) -> None:
        place(shop, "o-1")
        between = shop.now
        shop.advance(seconds=1)
        place(shop, "o-2", token="tok_poor")
        assert [one.key for one in listed(shop, status="CANCELLED").items] == ["o-2"]
        assert listed(shop, status="CANC").items == ()
        assert [one.key for one in listed(shop, keys=["o-1", "nobody"]).items] == ["o-1"]
        assert [one.key for one in listed(shop, unless=["OrderCancelled"]).items] == ["o-1"]
        assert [one.key for one in listed(shop, before=between.isoformat()).items] == ["o-1"]
        assert listed(shop, before="2020-01-01T00:00:00Z").items == ()

    @pytest.mark.parametrize(
        ("body", "problem"),
        [
            (b"", "Input data was truncated"),
            (b'{"aggregate": "ordr"}', "there is no aggregate 'ordr' (did you mean 'order'?)"),
            (b'{"before": "yesterday"}', "Invalid isoformat string"),
            (b'{"before": "2026-11-21T09:00:00"}', "has no time zone; end it with Z"),
            (b'{"limit": 5000}', "Expected `int` <= 1000"),
        ],
    )
    def test_request_that_cannot_be_read_is_refused_with_an_example(
        self, shop: Simulation, body: bytes, problem: str
    ) -> None:
        headers, _ = shop.run(shop._broker.request("api.ordering.list", body, {}, 1.0))
        assert headers["Nats-Service-Error"].startswith('ask like {"aggregate": "order"}: ')
        assert problem in headers["Nats-Service-Error"]


class TestSagas:
    def test_saga_is_held_up_by_an_open_call_a_parking_and_a_refusal(self, shop: Simulation) -> None:
        shop.kill("bank")
        shop.send(order(), key="o-1", message_id="m-1")
        shop.advance(seconds=30)
        (one,) = ls(shop).sagas
        (held,) = one.held_up_by
        assert held.startswith("payments has asked ")
        assert "because of AuthorizationRequested: " in held

    def test_first_call_counts_only_when_it_takes_long(self, shop: Simulation) -> None:
        shop.send(order(token="tok_slow"), key="o-1", message_id="m-1")
        shop.run_until("o-1", "AuthorizationRequested")
        assert ls(shop, stuck=True).sagas == ()

    def test_stuck_are_those_that_are_held_up_or_slow_and_open(self, shop: Simulation) -> None:
        place(shop, "delivered")
        tracking_no = shop.content("delivered", "OrderShipped")["tracking_no"]
        report = msgspec.json.encode({"tracking_no": tracking_no})
        shop.publish("cmd.shipping.ReportDelivered.delivered", report, {MSG_ID: "r-1"})
        place(shop, "never-reported")
        shop.advance(days=15)
        place(shop, "new")
        shop.kill("bank")
        shop.send(order(), key="no-bank", message_id="m-no-bank")
        shop.advance(seconds=30)
        found = ls(shop, stuck=True, oldest_first=True)
        assert [one.key for one in found.sagas] == ["never-reported", "no-bank"]
        assert [bool(one.held_up_by) for one in found.sagas] == [False, True]

    def test_open_sagas_and_old_ones_are_chosen(self, shop: Simulation) -> None:
        place(shop, "o-1")
        place(shop, "o-2", token="tok_poor")
        assert [one.key for one in ls(shop, is_open=True).sagas] == ["o-1"]
        shop.advance(hours=2)
        place(shop, "o-3")
        assert [one.key for one in ls(shop, older_than=timedelta(hours=1), oldest_first=True).sagas] == ["o-1", "o-2"]

    def test_context_that_does_not_answer_is_named(self, shop: Simulation) -> None:
        place(shop, "o-1")
        shop.kill("shipping")
        assert ls(shop).silent == ("shipping",)
        shop.kill("ordering")
        with pytest.raises(NoAnswerError, match=r"ordering does not answer: .*no responders"):
            ls(shop)

    def test_fields_are_those_of_the_state_at_any_depth(self, shop: Simulation) -> None:
        _, aggregate = leading(ORDER, contexts(shop))
        assert {"status", "customer_id", "sku", "amount_minor"} <= field_names(aggregate)
