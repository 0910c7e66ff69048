"""The code can do what contexts/sagas.py declares: names exist, ends and compensations can be reached."""

from collections.abc import Iterable
from typing import get_args

import pytest

from contexts.sagas import SAGAS
from shared.context import Policy
from shared.derived.return_types import commands_of
from shared.flow.graph import Flow, Kind, derive
from shared.saga import Saga
from tests.contract.declared import contexts

CONTEXTS = {context.name: context for context in contexts()}
FLOW: Flow = derive(CONTEXTS)
PUBLISHED = {
    f"{context.name}.{event.__name__}": aggregate.key
    for context in contexts()
    for aggregate in context.aggregates
    for event in aggregate.events
}
COMPENSATING = [
    (context.name, policy)
    for context in contexts()
    for policy in context.policies
    if "Compensates" in (policy.whenever.__doc__ or "")
]


def reached_from(flow: Flow, first: Iterable[str]) -> set[str]:
    """The events that can follow from these, with the help of clients."""
    return {*flow.reached(first, kinds=get_args(Kind))}


@pytest.mark.parametrize("saga", SAGAS, ids=lambda saga: saga.name)
def test_every_event_of_a_saga_is_published_under_its_key(saga: Saga) -> None:
    named = {*saga.first, *(event for end in saga.ends for event in end.events)}
    assert named - PUBLISHED.keys() == set(), "contexts/sagas.py: no context publishes these"
    assert {PUBLISHED[event] for event in named} == {saga.key}


@pytest.mark.parametrize("saga", SAGAS, ids=lambda saga: saga.name)
def test_every_end_of_a_saga_can_be_reached_from_its_first_events(saga: Saga) -> None:
    reached = reached_from(FLOW, saga.first)
    assert {event for end in saga.ends for event in end.events} - reached == set()
    assert saga.end(saga.first) is None


@pytest.mark.parametrize(("name", "policy"), COMPENSATING, ids=lambda one: getattr(one, "whenever", one))
def test_every_compensation_can_be_reached_from_the_first_events_of_a_saga(name: str, policy: Policy) -> None:
    heard = f"{policy.source}.{policy.event.__name__}"
    assert any(heard in reached_from(FLOW, saga.first) for saga in SAGAS), f"{name} compensates out of reach"


def test_there_are_compensations() -> None:
    assert COMPENSATING


def test_a_compensation_that_is_cut_off_is_out_of_reach() -> None:
    alone = {name: context for name, context in CONTEXTS.items() if name == "ordering"}
    assert "payments.PaymentRefunded" not in reached_from(derive(alone), ("ordering.OrderPlaced",))
    assert "inventory.StockCommitted" not in reached_from(FLOW, ("notifications.CustomerNotified",))


def test_every_policy_says_which_commands_it_gives() -> None:
    silent = [
        whenever.__name__
        for context in contexts()
        for whenever in (*(p.whenever for p in context.policies), *(t.whenever_due for t in context.timers))
        if not commands_of(whenever)
    ]
    assert silent == []


def test_the_names_of_sagas_and_of_their_ends_stand_once() -> None:
    assert len({saga.name for saga in SAGAS}) == len(SAGAS)
    for saga in SAGAS:
        assert len({end.name for end in saga.ends}) == len(saga.ends)
