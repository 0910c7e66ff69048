"""The projection of the shop in virtual time: rows, queries, what they know, and the buckets."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from contexts.insights.endpoints import FIGURE_QUERIES, QUERIES
from shared import catalog
from shared.derived.topology import declare
from shared.groups.publish.buckets import LOOKS_EVERY_S
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS
from tests.unit.shopping import fill_shelves, order


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=2, with_read_sides=True) as opened:
        fill_shelves(opened)
        opened.send(order(), key="o-1")
        opened.run_until_quiet()
        yield opened


def asked(shop: Simulation, query: str, /, **fields: Any) -> Any:
    """The answer to a query, or the code of its refusal and the problem."""
    headers, body = shop.run(
        shop.asking(f"api.insights.{query}", json.dumps(fields).encode(), {}, within=timedelta(seconds=40))
    )
    answer = json.loads(body)
    code = headers.get("Nats-Service-Error-Code")
    return answer if code is None else (code, answer["detail"])


def last_sequence(shop: Simulation) -> int:
    return shop.server.stream(EVENTS).last_sequence


def bucket(shop: Simulation, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Every (key, value) that was put into a bucket, oldest first."""
    stored = shop.server.stream(f"KV_{name}").messages.values()
    return [(message.subject.rpartition(".")[2], json.loads(message.body)) for message in stored]


def test_an_order_is_one_row_that_says_what_it_knows(shop: Simulation) -> None:
    answer = asked(shop, "Order", order_id="o-1", at_least=last_sequence(shop))
    assert answer["order"]["state"] == "SHIPPED"
    assert answer["order"]["customer_id"] == order().customer_id
    assert answer["as_of"]["sequence"] == last_sequence(shop)
    assert answer["as_of"]["at"].endswith("Z")


def test_queries_answer_while_every_other_context_is_dead(shop: Simulation) -> None:
    for context in ("ordering", "inventory", "payments", "shipping", "notifications", "support", "bank"):
        shop.kill(context)
    assert asked(shop, "Order", order_id="o-1")["order"]["state"] == "SHIPPED"
    assert asked(shop, "Payment", order_id="o-1")["payment"]["state"] == "CAPTURED"
    assert asked(shop, "Stock", sku="mug")["stock"]["on_hand"] == 98
    assert [one["order_id"] for one in asked(shop, "Search", text="o-1")["orders"]] == ["o-1"]
    assert [one["figures"]["orders"] for one in asked(shop, "Figures", per="hour")["figures"]] == [1]
    of_one = {"Order": {"order_id": "o-1"}, "Payment": {"order_id": "o-1"}, "Customer": {"customer_id": "c-1"}}
    of_one |= {"Search": {"text": "ann"}, "Forecast": {"sku": "mug"}}
    for query in (*QUERIES, *FIGURE_QUERIES):
        assert "as_of" in asked(shop, query.name, **of_one.get(query.name, {})), query.name


def test_a_query_waits_for_the_sequence_of_its_own_event_but_not_for_ever(shop: Simulation) -> None:
    """Read your own write: the client knows the sequence of its event, and insights may be behind it."""
    placed = last_sequence(shop) + 1
    body = json.dumps({"order_id": "o-2", "at_least": placed, "within_s": 30}).encode()

    async def place_and_ask() -> Any:
        command = msgspec.json.encode({**msgspec.to_builtins(order()), "order_id": "o-2"})
        placing = shop.asking("api.ordering.PlaceOrder", command, {})
        _, (_, answer) = await asyncio.gather(placing, shop.asking("api.insights.Order", body, {}))
        return json.loads(answer)

    answer = shop.run(place_and_ask())
    assert answer["order"]["order_id"] == "o-2"
    assert answer["as_of"]["sequence"] >= placed
    body = json.dumps({"order_id": "o-2", "at_least": 1_000_000, "within_s": 1}).encode()
    headers, refused = shop.run(shop.asking("api.insights.Order", body, {}, within=timedelta(seconds=40)))
    assert (headers["Nats-Service-Error-Code"], "not to 1000000" in json.loads(refused)["detail"]) == ("504", True)
    assert json.loads(refused)["as_of"]["sequence"] == last_sequence(shop)


def test_what_is_not_there_and_what_cannot_be_read_is_said(shop: Simulation) -> None:
    assert asked(shop, "Order", order_id="o-9") == ("404", "no order 'o-9' is known")
    code, problem = asked(shop, "Order", order="o-1")
    assert (code, "has the fields at_least, within_s, order_id" in problem) == ("400", True)


@pytest.mark.parametrize(
    ("query", "fields", "path"),
    [
        ("Orders", {"after": 2**64}, "$.after"),
        ("Search", {"text": "ann", "after": -1}, "$.after"),
        ("Orders", {"since": "2026-11-28T09:00:00"}, "$.since"),
    ],
)
def test_a_page_that_cannot_be_is_refused(shop: Simulation, query: str, fields: Mapping[str, Any], path: str) -> None:
    code, problem = asked(shop, query, **fields)
    assert (code, path in problem) == ("400", True)


def test_a_query_that_fails_is_answered(shop: Simulation) -> None:
    code, problem = asked(shop, "Orders", since="0001-01-01T00:00:00+14:00")
    assert (code, problem) == ("500", "Orders failed: OverflowError: date value out of range")


def test_orders_are_listed_page_by_page_by_customer_state_article_and_time(shop: Simulation) -> None:
    for number in (2, 3):
        shop.send(order(), key=f"o-{number}")
        shop.run_until_quiet()
    shop.advance(hours=1)
    shop.send(order(token="tok_declined"), key="o-4")
    shop.run_until_quiet()

    def listed(**fields: Any) -> list[str]:
        return [one["order_id"] for one in asked(shop, "Orders", **fields)["orders"]]

    first = asked(shop, "Orders", customer_id="c-1", limit=3)
    assert [one["order_id"] for one in first["orders"]] == ["o-4", "o-3", "o-2"]
    assert listed(customer_id="c-1", limit=3, after=first["after"]) == ["o-1"]
    assert listed(state="CANCELLED") == ["o-4"]
    assert listed(sku="mug", state="SHIPPED") == ["o-3", "o-2", "o-1"]
    assert listed(sku="pot") == []
    assert listed(since=(shop.now - timedelta(minutes=30)).isoformat()) == ["o-4"]
    customer = asked(shop, "Customer", customer_id="c-1")["customer"]
    assert (customer["orders"], customer["cancelled"], customer["ordered"]) == (4, 1, {"EUR": 1500})
    assert [one["order_id"] for one in asked(shop, "Search", text="ann hauptstr mu")["orders"]] == [
        "o-4",
        "o-3",
        "o-2",
        "o-1",
    ]
    assert asked(shop, "Search", text="ann pot")["orders"] == []
    assert len(asked(shop, "Search", text="h\u0061\u0308upt")["orders"]) == 4, "an accent of its own ends no word"


def said(shop: Simulation, event: str, body: Mapping[str, Any], identity: str) -> None:
    shop.publish(f"evt.ordering.{event}.o-1", json.dumps(body).encode(), {MSG_ID: identity})
    shop.run_until_quiet()


def test_an_event_that_is_stored_again_after_the_window_changes_nothing(shop: Simulation) -> None:
    """R8: the broker has forgotten the id, the table has not."""
    confirmed = next(event for event in shop.events("o-1") if event.type == "OrderConfirmed")
    shop.advance(minutes=30)
    before = last_sequence(shop)
    said(shop, "OrderConfirmed", json.loads(confirmed.body), confirmed.id)
    assert last_sequence(shop) == before + 1
    assert asked(shop, "Order", order_id="o-1", at_least=before + 1)["order"]["state"] == "SHIPPED"


def test_strangers_and_poison_are_set_aside_and_the_others_flow(shop: Simulation) -> None:
    """R11, R20: a message that no context gave this form is skipped; one that cannot be read is recorded."""
    for stranger in ("somebody", f"ordering/order-o-1@{10**20}", f"ordering/order-o-1@{'1' * 5000}"):
        said(shop, "OrderCancelled", {"order_id": "o-1", "reason": "customer"}, stranger)
    said(shop, "OrderCancelled", {"order_id": "o-1", "reason": "whim"}, "ordering/order-o-1@77")
    shop.send(order(), key="o-2")
    shop.run_until_quiet()
    assert asked(shop, "Order", order_id="o-1")["order"]["state"] == "SHIPPED"
    assert asked(shop, "Order", order_id="o-2")["order"]["state"] == "SHIPPED"
    ((subject, reason),) = shop.rows("insights-projection", "SELECT subject, reason FROM poison")
    assert (subject.endswith(".o-1"), "$.reason" in reason) == (True, True)


def test_an_event_that_is_nested_too_deep_is_set_aside(shop: Simulation) -> None:
    body = b'{"order_id": "o-1", "reason": "customer", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    shop.publish("evt.ordering.OrderCancelled.o-1", body, {MSG_ID: "ordering/order-o-1@77"})
    shop.run_until_quiet()
    assert asked(shop, "Order", order_id="o-1")["order"]["state"] == "SHIPPED"
    ((reason,),) = shop.rows("insights-projection", "SELECT reason FROM poison")
    assert reason.startswith("RecursionError")


def test_a_bucket_has_every_row_in_the_order_of_the_stream(shop: Simulation) -> None:
    shop.send(order(token="tok_poor"), key="o-2")
    shop.run_until_quiet()
    assert dict(bucket(shop, "orders"))["o-1"]["state"] == "SHIPPED"
    assert dict(bucket(shop, "orders"))["o-2"]["reason"] == "payment_failed"
    assert dict(bucket(shop, "stock"))["mug"]["on_hand"] == 98
    assert dict(bucket(shop, "customers"))["c-1"]["cancelled"] == 1
    places = [
        int(message.headers["Chorus-Events-Sequence"]) for message in shop.server.stream("KV_orders").messages.values()
    ]
    assert places == sorted(places)


def test_a_rebuild_gives_the_same_rows_and_takes_no_key_of_a_bucket_back(shop: Simulation) -> None:
    """F26, I17: everything in the database follows from the stream."""
    query = "SELECT n, key, sequence, row, customer_id, state, placed_at FROM v_orders ORDER BY n"
    shop.send(order(), key="o-2")
    shop.run_until_quiet()
    rows, put = shop.rows("insights-projection", query), bucket(shop, "orders")
    shop.kill("insights")
    (shop.directory / "insights-projection.db").unlink()
    for ending in ("-wal", "-shm"):
        (shop.directory / f"insights-projection.db{ending}").unlink(missing_ok=True)
    shop.start("insights")
    shop.run_until_quiet()
    assert shop.rows("insights-projection", query) == rows
    assert bucket(shop, "orders") == put


def test_a_bucket_that_was_lost_is_written_anew(shop: Simulation) -> None:
    shop.kill("insights")
    shop.server.delete_stream("KV_orders")
    shop.server.apply(declare(shop._world.topology, catalog.members(shop._world.settings).values()))
    shop.start("insights")
    shop.run_until_quiet()
    assert [(key, row["state"]) for key, row in bucket(shop, "orders")] == [("o-1", "SHIPPED")]


def test_a_bucket_is_written_anew_when_the_database_and_the_stream_behind_it_are_lost(shop: Simulation) -> None:
    """The sequences of the new stream are lower than those in the bucket."""
    contexts = ("ordering", "inventory", "payments", "shipping", "notifications", "support", "bank", "insights")
    for number in range(200):
        shop.publish("evt.ordering.Unheard.o-1", b"{}", {MSG_ID: f"stranger-{number}"})
    shop.send(order(), key="o-2")
    shop.run_until_quiet()
    for context in contexts:
        shop.stop(context)
    for file in shop.directory.glob("insights-projection.db*"):
        file.unlink()
    shop.server.delete_stream(EVENTS)
    shop.server.apply(declare(shop._world.topology, catalog.members(shop._world.settings).values()))
    for context in contexts:
        shop.start(context)
    shop.run_until_quiet()
    shop.send(order(), key="o-3")
    shop.run_until_quiet()
    assert last_sequence(shop) < 200
    assert dict(bucket(shop, "orders"))["o-3"]["state"] == "SHIPPED"


def lose_the_database_and_the_newest_events(shop: Simulation) -> None:
    """EVENTS is an older copy when the server is back, and the bucket is as it was; no process runs."""
    copy = shop.server.copy()
    shop.send(order(), key="o-2")
    shop.run_until_quiet()
    for context in ("ordering", "inventory", "payments", "shipping", "notifications", "support", "bank", "insights"):
        shop.stop(context)
    for file in shop.directory.glob("insights-projection.db*"):
        file.unlink()
    ahead = shop.server.stream("KV_orders").copy()
    shop.server.stop()
    shop.server.restore(copy)
    shop.server.streams["KV_orders"] = ahead
    shop.server.start()


def test_a_bucket_that_is_ahead_of_an_older_copy_of_the_stream_is_written_anew(shop: Simulation) -> None:
    """The database is lost too, so nothing but the bucket knows that there were more events."""
    lose_the_database_and_the_newest_events(shop)
    shop.start("insights")
    said(shop, "OrderCancelled", {"order_id": "o-1", "reason": "customer"}, "ordering/order-o-1@77")
    assert dict(bucket(shop, "orders"))["o-1"]["state"] == "CANCELLED"


def test_a_bucket_is_written_anew_when_an_older_copy_of_the_stream_has_grown_past_it(shop: Simulation) -> None:
    """The sequence in the bucket is that of another event now, which was stored later than the value."""
    lose_the_database_and_the_newest_events(shop)
    shop.advance(seconds=1)
    said(shop, "OrderCancelled", {"order_id": "o-1", "reason": "customer"}, "ordering/order-o-1@77")
    for number in range(40):
        body = json.dumps({"order_id": f"x-{number}"}).encode()
        shop.publish(f"evt.ordering.OrderConfirmed.x-{number}", body, {MSG_ID: f"ordering/order-x-{number}@1"})
    shop.start("insights")
    shop.run_until_quiet()
    assert dict(bucket(shop, "orders"))["o-1"]["state"] == "CANCELLED"


def let_time_pass(shop: Simulation) -> None:
    """As long as it takes to look after a bucket at rest."""
    shop.run(asyncio.sleep(2 * LOOKS_EVERY_S))


def test_a_bucket_that_a_stranger_has_written_is_written_anew_while_no_row_changes(shop: Simulation) -> None:
    shop.publish("$KV.orders.o-1", b'{"state": "HACKED"}', {})
    let_time_pass(shop)
    assert [row["state"] for key, row in bucket(shop, "orders") if key == "o-1"][-2:] == ["HACKED", "SHIPPED"]


def test_a_bucket_that_is_deleted_and_made_again_is_filled_while_no_row_changes(shop: Simulation) -> None:
    shop.server.delete_stream("KV_orders")
    let_time_pass(shop)
    shop.server.apply(declare(shop._world.topology, catalog.members(shop._world.settings).values()))
    let_time_pass(shop)
    assert [(key, row["state"]) for key, row in bucket(shop, "orders")] == [("o-1", "SHIPPED")]


def test_a_row_that_no_bucket_can_have_keeps_no_other_row_from_it(shop: Simulation) -> None:
    """The key of a customer may be of any length, and a row of any size."""
    placed = json.loads(msgspec.json.encode(order()))
    placed |= {"total": {"amount_minor": 1}, "customer_id": "c" * 5_000}
    for key, code in ("o-7", "spring"), ("o-8", "s" * 1_100_000):
        body = {**placed, "order_id": key, "promotion_code": code}
        shop.publish(f"evt.ordering.OrderPlaced.{key}", json.dumps(body).encode(), {MSG_ID: f"ordering/order-{key}@1"})
    shop.send(order(), key="o-9")
    shop.run_until_quiet()
    assert len(asked(shop, "Order", order_id="o-8")["order"]["promotion_code"]) == 1_100_000
    assert {key for key, _ in bucket(shop, "customers")} == {"c-1"}
    values = {one.subject: one.body for one in shop.server.stream("KV_orders").messages.values()}
    assert [key for key in ("o-7", "o-8", "o-9") if values.get(f"$KV.orders.{key}")] == ["o-7", "o-9"]


def test_an_older_copy_of_the_stream_is_folded_anew(shop: Simulation) -> None:
    """R4: sequences are used again, so the position says nothing about the stream that is there now."""
    for context in ("ordering", "inventory", "payments", "shipping", "notifications", "support", "bank", "insights"):
        shop.stop(context)
    copy = shop.server.copy()
    shop.start("insights")
    said(shop, "OrderCancelled", {"order_id": "o-1", "reason": "customer"}, "ordering/order-o-1@77")
    assert asked(shop, "Order", order_id="o-1")["order"]["state"] == "CANCELLED"
    shop.server.stop()
    shop.server.restore(copy)
    shop.server.start()
    shop.run_until_quiet()
    assert asked(shop, "Order", order_id="o-1")["order"]["state"] == "SHIPPED"
    assert dict(bucket(shop, "orders"))["o-1"]["state"] == "SHIPPED"
