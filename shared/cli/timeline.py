"""`chorus timeline`: shows the messages of a saga as a tree of causes."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.adapters import clock, databases
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json, ShowNats
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.annotations import Annotations
    from shared.inspect.telling import Telling


def timeline(
    key: Annotated[str, Parameter(name="KEY", help="the key of a saga, or any other key")],
    /,
    *,
    everything: Annotated[
        bool, Parameter(negative="", show_default=False, help="events under other keys too (slow)")
    ] = False,
    json: Json = False,
    show_nats: ShowNats = False,
    connection: Connection = HERE,
) -> int:
    """Show what caused what for one key, with times.

    The first column counts from the first event, the second from the cause. With
    --everything it also reads events of the saga under other keys. Marks parked
    messages and, if the databases are on this machine (CHORUS_DATA_DIR), events that
    the journal of their context does not have. The last lines say how each saga of
    the key ended, or how long it has been going on.

    For example:

        chorus timeline k-42
        chorus timeline k-42 --json | jq '.[].type'
    """
    from shared.wire.messages import check_key

    check_key(key)
    if show_nats:
        show_lines(nats_commands(connection, key, everything=everything))
        return Exit.OK

    import anyio

    from shared import catalog
    from shared.context import Context
    from shared.inspect.annotations import annotate
    from shared.inspect.telling import Telling
    from shared.inspect.timeline import Message, read_saga, tree

    async def read() -> list[Message]:
        async with connection.connected("timeline") as broker:
            return await read_saga(broker, key, everything=everything)

    settings = catalog.read_settings(os.environ)
    telling = Telling(one for one in catalog.load_all(settings).members.values() if isinstance(one, Context))
    messages = anyio.run(read)
    annotations = annotate(databases(settings), catalog.names(), key, messages)
    messages += annotations.missing
    if not messages:
        raise CommandError(Exit.NO, f"no event has the key {key!r}; check the key and the server")
    roots = tree(messages)
    if json:
        show_json(as_json(roots, annotations, telling))
    else:
        from shared.inspect.drawing import draw
        from shared.inspect.sagas import standings

        show(draw(roots, annotations, telling))
        show_lines(standings(catalog.declared_in("sagas", "SAGAS") or (), messages, clock().now()))
    return Exit.OK


def nats_commands(connection: Connection, key: str, *, everything: bool) -> list[str]:
    """The commands of the nats CLI that show the same events without the tree; --everything shows all events."""
    events = "evt.>" if everything else f"evt.*.*.*.{key}"
    return [
        connection.nats("sub", "--stream=EVENTS", "--all", "--terminate-at-end", "--wait=1s", events),
        connection.nats("sub", "--stream=TIMERS", "--all", "--terminate-at-end", "--wait=1s", f"due.*.*.*.{key}"),
    ]


def as_json(
    roots: Any, annotations: "Annotations | None" = None, telling: "Telling | None" = None
) -> list[dict[str, Any]]:
    """The tree as a list, from the top down. A cause that is not in the log has only its id.

    `parked` are the contexts in which the message is parked. `journal` is null when the database is elsewhere.
    """
    from shared.inspect.annotations import Annotations
    from shared.inspect.telling import Telling
    from shared.inspect.timeline import steps
    from shared.wire.messages import rfc3339

    annotations, telling = annotations or Annotations(), telling or Telling()
    return [
        {
            "id": step.node.id,
            "depth": step.depth,
            "copies": step.node.copies,
            "after_ms": _milliseconds(step.after),
            "took_ms": _milliseconds(step.took),
            **(
                {
                    "kind": message.kind,
                    "context": message.context,
                    "type": message.type,
                    "key": message.key,
                    "caused_by": message.caused_by,
                    "at": rfc3339(message.at),
                    "stream": message.stream,
                    "sequence": message.sequence,
                    "parked": annotations.parked.get(step.node.id, []),
                    "journal": annotations.journal.get(step.node.id),
                    **telling.says(message),
                }
                if (message := step.node.message)
                else {"kind": "cmd" if step.node.is_command else "unknown"}
            ),
        }
        for step in steps(roots)
    ]


def _milliseconds(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(milliseconds=1)
