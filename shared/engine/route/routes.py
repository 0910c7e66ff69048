"""Finds the decoder and the policies of a delivered message, and asks them which commands follow from it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from shared.context import Command, Context, Event
from shared.engine.route.event_form import Form
from shared.engine.route.headers import actor_in
from shared.engine.route.incoming import IGNORE, Decide, Handling
from shared.ports.broker import Delivery
from shared.upcaster import EventDecoder
from shared.wire.bodies import BodyDecoder
from shared.wire.messages import NEVER, Subject

Whenever: TypeAlias = Callable[[Any], Sequence[Command]]
Route: TypeAlias = tuple[BodyDecoder[Any], Whenever, EventDecoder | None]


class Routes:
    """The routes of one context, by the kind, the context and the type that a subject names."""

    def __init__(self, context: Context, partitions: int) -> None:
        self._routes: dict[tuple[str, str, str], Route] = {}
        self._functions: dict[tuple[str, str, str], str] = {}
        for command in context.accepts:
            self._routes["cmd", context.name, command.__name__] = (
                BodyDecoder(command, strict=True),
                lambda one: (one,),
                None,
            )
        for timer in context.timers:
            versions = context.decoder_of(timer.armed_by)
            self._routes["due", context.name, timer.name] = (versions.newest, timer.whenever_due, versions.if_any)
            self._functions["due", context.name, timer.name] = name_of(timer.whenever_due)
        policies: dict[tuple[str, type[Event]], list[Callable[[Any], Sequence[Command]]]] = {}
        for policy in context.policies:
            policies.setdefault((policy.source, policy.event), []).append(policy.whenever)
        for (source, event), of_event in policies.items():
            versions = context.decoder_of(event, "" if source == context.name else source)
            self._routes["evt", source, event.__name__] = (versions.newest, _all_of(of_event), versions.if_any)
            self._functions["evt", source, event.__name__] = ", ".join(map(name_of, of_event))
        self._form = Form(partitions, (event for _, event in policies))

    def __contains__(self, subject: Subject) -> bool:
        return (subject.kind, subject.context, subject.type) in self._routes

    def functions_of(self, subject: Subject) -> str:
        """The names of the functions that answer a message with commands; empty for a command."""
        return self._functions.get((subject.kind, subject.context, subject.type), "")

    def check_form(self, subject: Subject, headers: Mapping[str, str]) -> None:
        """Raise StrangerError for an event or a timer that we react to and its context cannot have published."""
        if subject.kind != "cmd" and subject in self:
            self._form.check(subject, headers)

    def handling(self, subject: Subject, delivery: Delivery) -> Handling:
        """Decode the body and ask the policies. The stream itself refuses commands of an unknown type."""
        route = self._routes.get((subject.kind, subject.context, subject.type))
        if route is None:
            return IGNORE
        decoder, whenever, versions = route
        if versions is not None and versions.is_older(delivery.headers):
            message = versions.decode(delivery.body, key=subject.key, at=delivery.at, headers=delivery.headers)
        else:
            at = NEVER if decoder.at_field is None else delivery.at  # Few ask for the time, which is slow to make.
            actor = "" if decoder.actor_field is None else actor_in(delivery.headers)
            message = decoder.decode(delivery.body, key=subject.key, at=at, actor=actor)
        if subject.kind == "evt":
            self._form.check_key(message, subject.key)
        return Decide(whenever(message))


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function, also behind a partial application."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _all_of(policies: Sequence[Callable[[Any], Sequence[Command]]]) -> Callable[[Any], Sequence[Command]]:
    if len(policies) == 1:
        return policies[0]
    return lambda event: [command for policy in policies for command in policy(event)]
