"""Derives the users of a system: one for each context and service, and the roles of people and tools. Pure.

Nothing is declared. A context may publish its own events, set its own timers, write dead letters, ask exactly the
services that its effects name, and read exactly its own consumers; a new context has its user as soon as it exists.
"""

from collections.abc import Mapping
from typing import Final

from shared.access import grants
from shared.access.rights import Rights, User
from shared.context import Context, Member
from shared.derived.topology import Topology, consumer_name, streams_of
from shared.engine.intake.partition import NOTICE
from shared.readside.group import ANY, ReadSide, catch_up_of, place_of
from shared.streams.choreography import services_of
from shared.wire.lag import group_lag_of
from shared.wire.streams import COMMANDS, DEAD_LETTERS, EVENTS, SCHEMAS_STREAM, SCHEMAS_SUBJECT, TIMERS

OPERATOR: Final = "operator"
PRODUCER: Final = "producer"
FRONTEND: Final = "frontend"
TESTER: Final = "tester"
MONITOR: Final = "monitor"
ROLES: Final = (OPERATOR, PRODUCER, FRONTEND, TESTER, MONITOR)
MIRROR: Final = "MIRROR"
"""A copy of EVENTS that an operator makes for testers. A user who may create a stream may publish anything with it: the
server checks no permission for its sources, its mirror and its `republish`. So testers create none."""
QUESTIONS: Final = ("about", "waiting", "list", "lag")

Contexts = Mapping[str, Context]
Sides = Mapping[str, ReadSide]
Members = Mapping[str, Member]


class AccessError(ValueError):
    """The users cannot be derived; the text names the remedy."""


def users(topology: Topology, members: Members) -> tuple[User, ...]:
    """The users of the contexts and read sides by name, then the roles.

    Raises:
        AccessError: a context has the name of a role.
    """
    contexts = {name: member for name, member in sorted(members.items()) if isinstance(member, Context)}
    sides = {name: member for name, member in sorted(members.items()) if isinstance(member, ReadSide)}
    if taken := sorted({*members} & {*ROLES}):
        raise AccessError(f"the context {taken[0]} has the name of a role of chorus access: rename the context")
    found = [*(_context(topology, one) for one in contexts.values()), *map(_read_side, sides.values())]
    found.sort(key=lambda user: user.name)
    roles = (
        _operator(contexts, sides),
        _producer(contexts),
        _frontend(contexts, sides),
        _tester(topology, contexts, sides),
        _monitor(contexts, sides),
    )
    return (*found, *roles)


def _context(topology: Topology, context: Context) -> User:
    name = context.name
    consumers = [
        (stream, consumer_name(name, number)) for stream in streams_of(context) for number in range(topology.partitions)
    ]
    services = sorted({service for effect in context.effects for service in services_of(effect)})
    publish = [
        *(f"{kind}.{name}.>" for kind in ("evt", "timer", "dlq")),
        f"due.{name}.{NOTICE}.*",
        # `api.<context>.<Command>` validates a command and then publishes it.
        *(f"cmd.{name}.{command.__name__}.*" for command in context.accepts),
        *(f"svc.{service}.*" for service in services),
        f"{grants.API}.STREAM.INFO.{COMMANDS}",
        *(subject for stream in (EVENTS, TIMERS, DEAD_LETTERS) for subject in grants.read(stream)),
        *(subject for stream, consumer in consumers for subject in grants.pull(stream, consumer)),
    ]
    answered = [f"api.{name}.*", *([f"svc.{name}.*"] if context.endpoints else [])]
    return _user(name, f"the workers of {name}", publish, [*answered, *grants.discovery(name)], answers=True)


def _operator(contexts: Mapping[str, Context], sides: Sides) -> User:
    publish = [
        *grants.look(()),
        *(
            subject
            for stream in (*grants.ALL_STREAMS, MIRROR, SCHEMAS_STREAM, *_buckets(sides))
            for subject in grants.manage(stream)
        ),
        f"{SCHEMAS_SUBJECT}>",
        # `chorus reconcile` publishes again what the journals have and the streams have lost.
        *(f"{kind}.{name}.>" for name in contexts for kind in ("evt", "timer", "dlq")),
        *_questions(contexts, QUESTIONS),
        *(subject for side in sides for subject in _queries(side)),
        *grants.discover(),
    ]
    purpose = "streams, consumers, parked messages, reconcile"
    return _user(OPERATOR, purpose, publish, ["$JS.EVENT.ADVISORY.>"])


def _producer(contexts: Mapping[str, Context]) -> User:
    return _user(PRODUCER, "clients: commands, and nothing of what became of them", _commands(contexts), [])


def _frontend(contexts: Mapping[str, Context], sides: Sides) -> User:
    # The subjects without ANY: where an actor is required, a query of a frontend that names none is refused.
    queries = [
        f"api.{side.name}.{query.name}"
        for side in sides.values()
        for group in side.groups
        if any(table.owner is not None for table in group.all_tables)
        for query in group.queries
    ]
    purpose = "frontends that authenticate their users: commands, and queries about the things of these users"
    return _user(FRONTEND, purpose, [*_commands(contexts), *queries], [])


def _commands(contexts: Mapping[str, Context]) -> list[str]:
    publish = [f"api.{context.name}.{command.__name__}" for context in contexts.values() for command in context.accepts]
    # Every command, not only those that exist: COMMANDS takes no other, and the sender of a typo learns it at once.
    return [*publish, "cmd.*.*.*"]


def _tester(topology: Topology, contexts: Mapping[str, Context], sides: Sides) -> User:
    consumers = [
        consumer_name(context.name, number)
        for context in contexts.values()
        for number in range(topology.partitions)
        if EVENTS in streams_of(context)
    ]
    consumers += [consumer for side in sides.values() for consumer in _consumers(side)]
    buckets = _buckets(sides)
    readable = (*grants.ALL_STREAMS, MIRROR, SCHEMAS_STREAM, *buckets)
    publish = [
        *grants.look((*grants.ALL_STREAMS, MIRROR)),
        *(subject for stream in readable for subject in grants.read(stream)),
        *(subject for stream in (EVENTS, DEAD_LETTERS, MIRROR, *buckets) for subject in grants.own_consumers(stream)),
        *_questions(contexts, QUESTIONS),
        *(subject for side in sides for subject in _queries(side)),
        *grants.discover(),
    ]
    never = grants.foreign_consumers(EVENTS, consumers)
    return _user(TESTER, "reads every stream, changes nothing", publish, [], never=never)


def _read_side(side: ReadSide) -> User:
    places = [place_of(side.name, group.name) for group in side.groups]
    buckets = [table.name for group in side.groups for table in group.buckets]
    publish = [
        *(f"evt.{side.name}.{event.__name__}.*" for event in side.publishes),
        *(subject for consumer in _consumers(side) for subject in grants.pull(EVENTS, consumer)),
        *grants.read(EVENTS),
        *(f"$KV.{bucket}.>" for bucket in buckets),
        *(subject for bucket in buckets for subject in grants.read(f"KV_{bucket}")),
    ]
    subscribe = [*_queries(side.name), *(subject for place in places for subject in grants.discovery(place))]
    return _user(
        side.name, f"the groups of {side.name}: hear EVENTS, answer questions", publish, subscribe, answers=True
    )


def _consumers(side: ReadSide) -> list[str]:
    places = [place_of(side.name, group.name) for group in side.groups]
    return [consumer for place in places for consumer in (place, catch_up_of(place))]


def _buckets(sides: Sides) -> list[str]:
    """The streams of the KV buckets."""
    return [f"KV_{table.name}" for side in sides.values() for group in side.groups for table in group.buckets]


def _monitor(contexts: Mapping[str, Context], sides: Sides) -> User:
    publish = [
        *grants.look(grants.ALL_STREAMS),
        *_questions(contexts, ("lag",)),
        *(f"api.{side.name}.{group_lag_of(group.name)}" for side in sides.values() for group in side.groups),
        *grants.discover(),
    ]
    return _user(MONITOR, "metrics and alerts: no message of any stream", publish, ["$JS.EVENT.ADVISORY.>"])


def _queries(side: str) -> tuple[str, ...]:
    """Every query of a read side, about the things of one actor and of any."""
    return (f"api.{side}.*", f"api.{side}.{ANY}.*")


def _questions(contexts: Mapping[str, Context], names: tuple[str, ...]) -> list[str]:
    return [f"api.{context}.{name}" for context in contexts for name in names]


def _user(
    name: str,
    purpose: str,
    publish: list[str],
    subscribe: list[str],
    *,
    never: tuple[str, ...] = (),
    answers: bool = False,
) -> User:
    user = User(name=name, purpose=purpose, rights=Rights())
    rights = Rights(
        publish=tuple(dict.fromkeys(publish)),
        never=never,
        subscribe=(f"{user.inbox_prefix}.>", *subscribe),
        answers=answers,
    )
    return User(name=name, purpose=purpose, rights=rights)


def who_may(users: tuple[User, ...], action: str, subject: str) -> list[str]:
    """The users who may publish or subscribe to a subject."""
    return [
        user.name
        for user in users
        if (user.rights.may_publish(subject) if action == "publish" else user.rights.may_subscribe(subject))
    ]
