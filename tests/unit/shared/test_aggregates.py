"""The ids of aggregates, also of those that share a key, and how a decision reaches them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from shared.context import Aggregate
from shared.wire.messages import aggregate_id, aggregate_name

KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
PARTS = st.one_of(st.none(), KEYS, st.text(max_size=80), st.sampled_from(["", "a.b", "~", "delivery:d-1", "\ud800"]))


class Counted(Struct, frozen=True, kw_only=True):
    """Attempt `attempt` for an order was counted."""

    order_id: str
    attempt: int


CHECK = Aggregate(
    name="check", key="order_id", part="attempt", state=Counted, events=(Counted,), evolve=lambda check, _: check
)
ORDER = Aggregate(name="order", key="order_id", state=Counted, events=(), evolve=lambda order, _: order)


@pytest.mark.parametrize(
    ("part", "identity"),
    [
        (None, "return-o-42"),
        ("r-1", "return-o-42.r-1"),
        (3, "return-o-42.3"),
        ("delivery:d-1", "return-o-42.~67487a9f2e7986db869568339d3cf40b"),
        ("", "return-o-42.~cae66941d9efbd404e4d88758ea67670"),
    ],
)
def test_id_names_the_key_and_the_part(part: str | int | None, identity: str) -> None:
    assert aggregate_id("return", "o-42", part) == identity


@given(KEYS, PARTS, KEYS, PARTS)
def test_two_aggregates_never_share_an_id(key: str, part: str | None, other: str, other_part: str | None) -> None:
    same = (key, part) == (other, other_part)
    assert (aggregate_id("return", key, part) == aggregate_id("return", other, other_part)) == same


@given(KEYS, PARTS)
def test_name_can_be_read_from_an_id(key: str, part: str | None) -> None:
    assert aggregate_name(aggregate_id("return", key, part)) == "return"


def test_message_and_question_name_the_same_aggregate() -> None:
    counted = Counted(order_id="o-42", attempt=2)
    assert CHECK.id_of(counted) == CHECK.id_from(("o-42", 2)) == "check-o-42.2"
    assert ORDER.id_of(counted) == ORDER.id_from("o-42") == "order-o-42"


@pytest.mark.parametrize(("aggregate", "asked"), [(CHECK, "o-42"), (ORDER, ("o-42", 2))])
def test_question_that_names_no_aggregate_is_a_mistake(aggregate: Aggregate, asked: str | tuple[str, int]) -> None:
    with pytest.raises(AssertionError, match=f"ask for a {aggregate.name} by its key"):
        aggregate.id_from(asked)
