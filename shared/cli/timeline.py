"""`chorus timeline`: why a saga is where it is."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json, ShowNats
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.known import Known
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
    --everything the log is read from the first event on, for what belongs to the
    saga under other keys. What is parked is marked, and so is an event that the
    journal of its context does not have, where the databases are on this machine
    (CHORUS_DATA_DIR). The last lines say how each saga of the key has ended, or for
    how long it goes on.

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
    from shared.inspect.known import know
    from shared.inspect.telling import Telling
    from shared.inspect.timeline import Message, read_saga, tree

    async def read() -> list[Message]:
        async with connection.connected("timeline") as broker:
            return await read_saga(broker, key, everything=everything)

    settings = catalog.read_settings(os.environ)
    telling = Telling(one for one in catalog.load_all(settings).members.values() if isinstance(one, Context))
    messages = anyio.run(read)
    known = know(settings.data_dir, catalog.names(), key, messages)
    messages += known.missing
    if not messages:
        raise CommandError(Exit.NO, f"nothing has happened under the key {key!r}")
    roots = tree(messages)
    if json:
        show_json(as_json(roots, known, telling))
    else:
        from shared.adapters.clock import SystemClock
        from shared.inspect.drawing import draw
        from shared.inspect.sagas import standings

        show(draw(roots, known, telling))
        show_lines(standings(catalog.declared_in("sagas", "SAGAS") or (), messages, SystemClock().now()))
    return Exit.OK


def nats_commands(connection: Connection, key: str, *, everything: bool) -> list[str]:
    """How the nats CLI shows the same events, without the tree; for other keys it cannot choose, and shows all."""
    events = "evt.>" if everything else f"evt.*.*.*.{key}"
    return [
        connection.nats("sub", "--stream=EVENTS", "--all", "--terminate-at-end", "--wait=1s", events),
        connection.nats("sub", "--stream=TIMERS", "--all", "--terminate-at-end", "--wait=1s", f"due.*.*.*.{key}"),
    ]


def as_json(roots: Any, known: "Known | None" = None, telling: "Telling | None" = None) -> list[dict[str, Any]]:
    """The tree as a list from the top down; a cause that is not in the log has no more than its id.

    `parked` are the contexts in which it waits; `journal` is what its context's journal says, null if it is elsewhere.
    """
    from shared.inspect.known import Known
    from shared.inspect.telling import Telling
    from shared.inspect.timeline import steps
    from shared.wire.messages import rfc3339

    known, telling = known or Known(), telling or Telling()
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
                    "parked": known.parked.get(step.node.id, []),
                    "journal": known.journal.get(step.node.id),
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
