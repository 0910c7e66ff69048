"""Finds steps of a saga that nothing undoes although the saga may still fail.

The docstring of a policy tells which step it undoes: "Compensates whenever_this_happened_do_that". A step before the
pivot that needs no undoing says so in its own docstring: "Needs no compensation". A compensation needs none itself.
"""

import re
from collections.abc import Iterator

from shared.config.spelling import did_you_mean
from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_of
from shared.flow.graph import Flow, Reaction
from shared.saga import Saga
from shared.streams.choreography import function_of

_SENTENCE = re.compile(r"\bCompensates\b[^.]*")
_POLICY = re.compile(r"\bwhenever_\w+")
_EXEMPT = re.compile(r"\bneeds\s+no\s+compensation\b", re.IGNORECASE)


def misnamed(flow: Flow) -> Iterator[Finding]:
    """Compensations of a policy that does not exist."""
    policies = {_function(reaction) for reaction in flow.reactions}
    for reaction in flow.reactions:
        for undone in _undoes(reaction):
            if undone not in policies:
                yield Finding(
                    rule="step without a compensation",
                    place=place_of(reaction.code),
                    text=f"{_function(reaction)} compensates {undone}, which does not exist"
                    f"{did_you_mean(undone, policies)}",
                    remedy="name the policy that it undoes in its docstring",
                )


def missing(flow: Flow, saga: Saga) -> Iterator[Finding]:
    """Reactions that come before the pivot and lead to it, and that nothing undoes."""
    if not saga.pivot:
        return
    others = {event for event, aggregate in flow.aggregates.items() if aggregate.key != saga.key}
    before = {*flow.reached(saga.first, beyond={saga.pivot, *others})} - {saga.pivot, *others}
    reached = {*flow.reached(saga.first)}
    undone = {name for reaction in flow.reactions if reaction.on in reached for name in _undoes(reaction)}
    for reaction in flow.reactions:
        following = flow.following(reaction)
        if (
            reaction.kind in ("policy", "timer")
            and reaction.on in before
            and saga.pivot not in following
            and saga.pivot in flow.reached(following, beyond=others)
            and _function(reaction) not in undone
            and not _SENTENCE.search(_docstring(reaction))
            and not _EXEMPT.search(_docstring(reaction))
        ):
            yield Finding(
                rule="step without a compensation",
                place=place_of(reaction.code),
                text=f"{_function(reaction)} is a step of the saga {saga.name} before its pivot {saga.pivot},"
                " and no policy undoes it",
                remedy=f'write a policy whose docstring says "Compensates {_function(reaction)}", or say in this'
                ' docstring: "Needs no compensation"',
            )


def _undoes(reaction: Reaction) -> list[str]:
    sentences = _SENTENCE.findall(_docstring(reaction)) if reaction.kind in ("policy", "timer") else []
    return [name for sentence in sentences for name in _POLICY.findall(sentence)]


def _function(reaction: Reaction) -> str:
    return str(getattr(function_of(reaction.code), "__name__", reaction.name))


def _docstring(reaction: Reaction) -> str:
    return function_of(reaction.code).__doc__ or ""
