"""Nobody reads about the orders of another customer where a frontend says for whom each query is asked."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from contexts.kernel import CustomerId
from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import fill_shelves, order

NO_HEADERS: Mapping[str, str] = {}
NOT_THEIRS = "it acts for 'c-2', to whom nothing of this belongs"


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulation]:
    """Orders o-1 and o-2 are of customer c-1, and o-3 is of c-3; each query has to name its customer."""
    with simulation(seed=1, partitions=2, require_actor=True, with_read_sides=True) as opened:
        fill_shelves(opened)
        for key, customer in (("o-1", "c-1"), ("o-2", "c-1"), ("o-3", "c-3")):
            placed = replace(order(), customer_id=CustomerId(customer), acting_for=customer)
            opened.send(placed, key=key)
            opened.run_until_quiet()
        yield opened


def answer(shop: Simulation, query: str, asked: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """The answer to a query, or the status, title and detail of its refusal."""
    said, body = shop.run(shop.asking(f"api.insights.{query}", json.dumps(asked).encode(), headers))
    found = json.loads(body)
    if "Nats-Service-Error-Code" in said:
        return found["status"], found["title"], found["detail"]
    return found


def acting_for(shop: Simulation, actor: str, query: str, **asked: Any) -> Any:
    return answer(shop, query, asked, {"Acting-For": actor})


def ids(found: Mapping[str, Any]) -> list[str]:
    return [one["order_id"] for one in found["orders"]]


def test_customers_read_about_their_own_orders(shop: Simulation) -> None:
    assert acting_for(shop, "c-1", "Order", order_id="o-1")["order"]["state"] == "SHIPPED"
    assert acting_for(shop, "c-1", "Payment", order_id="o-1")["payment"]["state"] == "CAPTURED"
    assert acting_for(shop, "c-1", "Customer", customer_id="c-1")["customer"]["orders"] == 2
    assert ids(acting_for(shop, "c-1", "Customer", customer_id="c-1")) == ["o-2", "o-1"]
    assert ids(acting_for(shop, "c-1", "Orders", customer_id="c-1")) == ["o-2", "o-1"]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("Order", {"order_id": "o-1"}),
        ("Order", {"order_id": "o-of-nobody"}),
        ("Payment", {"order_id": "o-1"}),
        ("Payment", {"order_id": "o-of-nobody"}),
        ("Customer", {"customer_id": "c-1"}),
        ("Customer", {"customer_id": "c-2"}),
        ("Orders", {"customer_id": "c-1"}),
        ("Orders", {"customer_id": "c-of-nobody"}),
    ],
)
def test_a_refusal_does_not_tell_whether_there_is_such_a_thing(
    shop: Simulation, query: str, asked: Mapping[str, Any]
) -> None:
    assert acting_for(shop, "c-2", query, **asked) == (403, "not_your_order", NOT_THEIRS)


def test_pages_and_searches_have_the_orders_of_the_customer_alone(shop: Simulation) -> None:
    assert ids(acting_for(shop, "c-1", "Orders")) == ["o-2", "o-1"]
    assert ids(acting_for(shop, "c-1", "Search", text="ann")) == ["o-2", "o-1"]
    first = acting_for(shop, "c-1", "Search", text="ann", limit=1)
    assert ids(first) == ["o-2"]
    rest = acting_for(shop, "c-1", "Search", text="ann", limit=1, after=first["after"])
    assert (ids(rest), rest["after"]) == (["o-1"], None)
    assert ids(acting_for(shop, "c-3", "Search", text="ann mug")) == ["o-3"]
    assert ids(acting_for(shop, "c-2", "Orders")) == ids(acting_for(shop, "c-2", "Search", text="ann")) == []


@pytest.mark.parametrize("headers", [NO_HEADERS, {"Acting-For": ""}])
def test_a_query_has_to_name_its_customer(shop: Simulation, headers: Mapping[str, str]) -> None:
    refused = (403, "not_your_order", "it does not say for whom it acts; set the header Acting-For")
    for query, asked in (("Order", {"order_id": "o-1"}), ("Orders", {}), ("Search", {"text": "ann"})):
        assert answer(shop, query, asked, headers) == refused


@pytest.mark.parametrize(
    ("query", "asked"), [("Stock", {"sku": "mug"}), ("Figures", {}), ("LeadTimes", {}), ("Counts", {})]
)
def test_what_is_nobody_s_own_is_for_no_customer(shop: Simulation, query: str, asked: Mapping[str, Any]) -> None:
    assert acting_for(shop, "c-1", query, **asked)[:2] == (403, "not_yours")
    assert answer(shop, query, asked, NO_HEADERS)[:2] == (403, "not_yours")
    assert "as_of" in answer(shop, f"any.{query}", asked, NO_HEADERS)


def test_operators_ask_about_any_customer_and_a_customer_who_is_named_counts_there_too(shop: Simulation) -> None:
    assert ids(answer(shop, "any.Orders", {}, NO_HEADERS)) == ["o-3", "o-2", "o-1"]
    assert answer(shop, "any.Order", {"order_id": "o-9"}, NO_HEADERS)[:2] == (404, "not found")
    assert answer(shop, "any.Order", {"order_id": "o-1"}, {"Acting-For": "c-2"})[:2] == (403, "not_your_order")


def test_an_actor_that_is_too_long_is_malformed(shop: Simulation) -> None:
    problem = (400, "malformed", "Acting-For: 201 characters are more than 200")
    assert acting_for(shop, "c" * 201, "Order", order_id="o-1") == problem


def test_a_query_that_names_a_customer_is_about_them_by_default_too() -> None:
    with simulation(seed=1, partitions=2, with_read_sides=True) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1")
        shop.run_until_quiet()
        assert acting_for(shop, "c-2", "Order", order_id="o-1")[:2] == (403, "not_your_order")
        assert answer(shop, "Order", {"order_id": "o-1"}, NO_HEADERS)["order"]["customer_id"] == "c-1"
