"""Ids and their editions: the same fact published again because another message took its id."""

import pytest

from shared.wire.messages import is_event_id, next_edition, split_edition


@pytest.mark.parametrize("first", ["payments/payment-o-1@1", "till/till-t@12/ClosingTime", "till/rejection-0f@1"])
def test_each_edition_of_an_id_is_followed_by_the_next(first: str) -> None:
    second = next_edition(first)
    third = next_edition(second)
    assert (second, third) == (f"{first}.2", f"{first}.3")
    assert [split_edition(one) for one in (first, second, third)] == [(first, 1), (first, 2), (first, 3)]


@pytest.mark.parametrize(
    "message_id",
    ["api-0f.2", "EVENTS@2026-11-21T14:06:27.884568Z/125", "order@1.2", "till/till-t@1.1", "till/till-t@1.02", "a/b.2"],
)
def test_other_ids_have_one_edition(message_id: str) -> None:
    assert split_edition(message_id) == (message_id, 1)


def test_event_id_is_known_by_its_form_in_every_edition() -> None:
    assert is_event_id("payments/payment-o-1@1")
    assert is_event_id("payments/payment-o-1@1.2")
    assert not is_event_id("payments/payment-o-1")
    assert not is_event_id("order@1")
