"""`chorus ls`: lists sagas with their status and with the reasons why they do not go on."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import clock
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.context import Aggregate
    from shared.inspect.sagas.listing import Listing
    from shared.saga import Saga


def ls(
    saga: Annotated[str | None, Parameter(name="SAGA", help="one that sagas.py declares; else the first")] = None,
    /,
    *,
    state: Annotated[str, Parameter(show_default=False, help="only sagas with this status")] = "",
    older_than: Annotated[str, Parameter(show_default=False, help="only sagas that began longer ago, like 1h")] = "",
    open: Annotated[bool, Parameter(negative="", show_default=False, help="only sagas that have not ended")] = False,
    stuck: Annotated[
        bool, Parameter(negative="", show_default=False, help="only sagas that something holds up, or that are slow")
    ] = False,
    oldest: Annotated[bool, Parameter(negative="", show_default=False, help="oldest first; else newest first")] = False,
    limit: Annotated[int, Parameter(help="at most this many, up to 1000")] = 50,
    after: Annotated[int, Parameter(show_default=False, help="go on after the number that a list ends with")] = 0,
    json: Json = False,
    connection: Connection = HERE,
    **fields: Annotated[str, Parameter(help="only sagas whose state has this value in a field of this name")],
) -> None:
    """List sagas: status, age, last event, and what holds each up.

    The context that says a saga's first event answers for its status, and every
    context for what waits in it. Any field of the state chooses too, by its name or
    without the ending _id.

    For example:

        chorus ls
        chorus ls --stuck
        chorus ls --state PENDING --older-than 1h --oldest
        chorus ls --owner c-1 --json
    """
    import anyio

    from shared import catalog
    from shared.inspect.asking import NoAnswerError
    from shared.inspect.sagas.listing import Selection, leading, list_sagas
    from shared.wire.listing import PAGE_AT_MOST

    if not 1 <= limit <= PAGE_AT_MOST:
        raise CommandError(Exit.USAGE, f"--limit: {limit} is not between 1 and {PAGE_AT_MOST}")
    settings = catalog.read_settings(os.environ)
    contexts = [*catalog.load_all(settings).members.values()]
    chosen = _chosen(saga, catalog.declared_in("sagas", "SAGAS") or ())
    selection = Selection(
        status=state,
        fields=_fields(fields, leading(chosen, contexts)[1]),
        older_than=None if not older_than else _duration(older_than),
        is_open=open,
        stuck=stuck,
        oldest_first=oldest,
        after=after,
        limit=limit,
    )

    async def read() -> "Listing":
        async with connection.connected("ls") as broker:
            return await list_sagas(broker, chosen, contexts, selection, clock().now())

    try:
        found = anyio.run(read)
    except NoAnswerError as error:
        raise CommandError(Exit.BROKER_AWAY, f"{error}; is it running? chorus worker {error.context}") from error
    if json:
        import msgspec

        show_json(msgspec.to_builtins(found))
        return
    _show(found, clock().now(), selection.stuck)


def _show(found: "Listing", now: datetime, stuck: bool) -> None:
    from rich.table import Table

    if found.sagas:
        table = Table("key", "status", "age", "last event", "held up by", box=None, pad_edge=False)
        for one in found.sagas:
            age = _age(one.began_at, now)
            last = f"{one.last_event} {_age(one.last_at, now)} ago"
            table.add_row(one.key, one.status or "-", age, last, "\n".join(one.held_up_by))
        show(table)
    else:
        show_lines(["nothing is stuck" if stuck else "no saga is like that"])
    counted = ", ".join(f"{count} {status or 'without a status'}" for status, count in found.counts.items())
    lines = [f"In all: {counted}." if counted else "There is no saga yet."]
    if found.next:
        lines.append(f"There are more: --after {found.next}")
    lines += [
        f"{context} does not answer, so what waits there is unknown: chorus worker {context}"
        for context in found.silent
    ]
    show_lines(lines)


def _chosen(name: str | None, sagas: "Sequence[Saga]") -> "Saga":
    from shared.config.spelling import did_you_mean

    by_name = {saga.name: saga for saga in sagas}
    if not by_name:
        raise CommandError(Exit.MISCONFIGURED, "no saga is declared; declare SAGAS in sagas.py beside the contexts")
    if name is None:
        return sagas[0]
    if name not in by_name:
        raise CommandError(Exit.USAGE, f"no saga is called {name!r}{did_you_mean(name, by_name)}; see sagas.py")
    return by_name[name]


def _fields(given: dict[str, str], aggregate: "Aggregate") -> dict[str, str]:
    from shared.config.spelling import did_you_mean
    from shared.inspect.sagas.listing import field_names

    known = field_names(aggregate)
    found = {}
    for flag, value in given.items():
        name = flag.replace("-", "_")
        field = next((one for one in (name, f"{name}_id") if one in known), None)
        if field is None:
            raise CommandError(
                Exit.USAGE,
                f"--{flag}: no field of {aggregate.name} has this name{did_you_mean(name, known)};"
                f" there are {', '.join(sorted(known))}",
            )
        found[field] = value
    return found


def _duration(text: str) -> timedelta:
    from shared.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--older-than: {error}") from error


def _age(since: str, now: datetime) -> str:
    from shared.config.units import span

    return span(now - datetime.fromisoformat(since)) if since else "-"
