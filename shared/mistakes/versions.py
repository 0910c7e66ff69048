"""Finds upcasters that cannot work, and older events that a context cannot read."""

from collections.abc import Iterator, Mapping

from shared.context import Context, Event, Member, Upcaster
from shared.mistakes.compatibility import incompatible_fields


def of_upcasters(context: Context) -> Iterator[str]:
    """Upcasters of one context for events that it does not have, or for versions that are not over."""
    seen: set[tuple[str, type[Event], int]] = set()
    for upcaster in context.upcasters:
        name = f"{context.name}: the upcaster of {_named(context, upcaster)} until {upcaster.until}"
        identity = (upcaster.source, upcaster.event, upcaster.until)
        if identity in seen:
            yield f"{name} is declared twice: remove one"
        seen.add(identity)
        if upcaster.until < 1:
            yield f"{name}: versions begin with 1; name the last version that has the older form"
        if upcaster.source in ("", context.name):
            if upcaster.source:
                yield f"{name} names its own context as the source: leave the source away"
            if upcaster.event not in context.publishes:
                yield f"{name} is for no event of its aggregates: name one of them, or give the source"
            if upcaster.until >= context.schema_version:
                yield f"{name}: events of today have version {context.schema_version}; raise Context.schema_version"
        elif not any(upcaster.is_of(policy.source, policy.event) for policy in context.policies):
            yield f"{name} is for no event that it hears: name the event of a policy, and its source"


def of_older_events(members: Mapping[str, Member]) -> Iterator[tuple[str, str]]:
    """(context, mistake) where a context cannot read what another one once wrote."""
    for name, reader in members.items():
        for source, event in reads_of(reader):
            writer = members.get(source)
            if writer is None or writer is reader:
                continue
            own = {one.until: one for one in reader.upcasters if one.is_of(source, event)}
            for until in own.keys() - {one.until for one in _of(writer, event)}:
                problem = f"{source} changed {event.__name__} after no version {until}"
                yield name, f"{name}: {problem}; name the last version of its upcaster"
            for written in _of(writer, event):
                later = [one for one in own.values() if one.until >= written.until]
                read = min(later, key=lambda one: one.until).older if later else event
                for problem in incompatible_fields(read, written.older):
                    what = f"{source}.{event.__name__} up to version {written.until}"
                    yield name, f"{name} cannot read {what}: {problem}, or declare an Upcaster"


def reads_of(member: Member) -> list[tuple[str, type[Event]]]:
    """Every event that a context or a read side hears, in the form in which it reads it."""
    if isinstance(member, Context):
        return list(dict.fromkeys((policy.source, policy.event) for policy in member.policies))
    return list(dict.fromkeys(heard for group in member.groups for heard in group.hears))


def _of(writer: Member, event: type[Event]) -> list[Upcaster]:
    return [one for one in writer.upcasters if not one.source and one.event.__name__ == event.__name__]


def _named(context: Context, upcaster: Upcaster) -> str:
    return f"{upcaster.source or context.name}.{upcaster.event.__name__}"
