"""`chorus timeline`: shows the messages of a saga as a tree of causes, and what lies ahead of it."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json, ShowNats
from shared.cli.output import show, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.saga_reader import Reading, SagaReader
    from shared.inspect.timeline.annotations import Annotations
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.inspect.timeline.tree import Node

Format = Literal["text", "json", "svg", "mermaid", "otlp"]


def timeline(
    key: Annotated[str, Parameter(name="KEY", help="the key of a saga, or any other key")],
    /,
    *,
    follow: Annotated[bool, Parameter(negative="", show_default=False, help="go on until Ctrl-C")] = False,
    diff: Annotated[str | None, Parameter(help="compare with the saga of this other key")] = None,
    format: Annotated[Format, Parameter(help="how to print it")] = "text",
    out: Annotated[Path | None, Parameter(help="write to this file")] = None,
    everything: Annotated[
        bool, Parameter(negative="", show_default=False, help="events under other keys too (slow)")
    ] = False,
    json: Json = False,
    show_nats: ShowNats = False,
    connection: Connection = HERE,
) -> int:
    """Show what caused what for one key, with times.

    The first column counts from the first event, the second from the cause.
    Dim lines lie ahead: open calls, deadlines, contexts that have not reacted yet,
    and the events that may follow. Marks parked messages and, if the databases are
    on this machine (CHORUS_DATA_DIR), events that the journal of their context
    does not have. The last lines say how each saga of the key ended, or how long
    it has been going on.

    --diff compares two sagas, says where they part, and exits 1 when they do.
    --format svg draws lanes, mermaid a sequence diagram, and otlp writes spans for
    an OpenTelemetry collector. With --everything it also reads events of the saga
    under other keys.

    For example:

        chorus timeline k-42
        chorus timeline k-42 --follow
        chorus timeline --diff k-1 k-2
        chorus timeline k-42 --format svg --out k-42.svg
        chorus timeline k-42 --json | jq '.[].type'
    """
    from shared.wire.messages import check_key

    check_key(key)
    form: Format = "json" if json else format
    if (follow or diff is not None) and (form not in ("text", "json") or (follow and diff is not None)):
        raise CommandError(Exit.USAGE, "--follow and --diff each print text or JSON; leave the other options away")
    if out is not None and (form == "text" or follow or diff is not None):
        raise CommandError(Exit.USAGE, "--out needs --format svg, mermaid, otlp or json, without --follow and --diff")
    if show_nats:
        show_lines(nats_commands(connection, key, everything=everything))
        return Exit.OK

    import anyio

    if diff is not None:
        from shared.cli.commands.timeline_diff import show_diff

        return show_diff(connection, check_key(diff), key, as_json=form == "json")
    if follow:
        from shared.cli.commands.timeline_follow import follow_saga
        from shared.cli.interrupt import run_until_interrupted

        run_until_interrupted(lambda: follow_saga(connection, key, form == "json"))
        return Exit.OK

    from shared.cli.adapters import saga_reader
    from shared.inspect.saga_reader import Reading

    reader = saga_reader()

    async def read() -> Reading:
        async with connection.connected("timeline") as broker:
            return await reader.read(broker, key, everything=everything)

    reading = anyio.run(read)
    if not reading.roots:
        raise CommandError(Exit.NO, f"no event has the key {key!r}; check the key and the server")
    if form == "text":
        show_timeline(reader, reading)
    else:
        write(exported(reader, reading, key, form), out)
    return Exit.OK


def show_timeline(reader: "SagaReader", reading: "Reading") -> None:
    """Show the trees, and a line for each saga."""
    from shared.inspect.timeline.drawing import draw

    show(draw(reading.roots, reading.annotations, reader.told_fields))
    show_lines(reader.standings(reading))


def exported(reader: "SagaReader", reading: "Reading", key: str, form: Format) -> str:
    """The saga in a form that another program reads."""
    import json

    from shared.export.rows import rows_of

    if form == "json":
        return json.dumps(as_json(reading.roots, reading.annotations, reader.told_fields), indent=2)
    rows = rows_of(reading.roots, reader.told_fields)
    if form == "otlp":
        from shared.export.otlp import traces

        return json.dumps(traces(rows, key), indent=2)
    if form == "mermaid":
        from shared.export.mermaid import sequence

        return "\n".join(sequence(rows))
    from shared.export.svg import lanes

    return lanes(rows, f"chorus timeline {key}")


def write(text: str, out: Path | None) -> None:
    """Write to a file, or else to standard output; raises CommandError."""
    if out is None:
        show_lines([text])
        return
    try:
        out.write_text(f"{text}\n")
    except OSError as error:
        raise CommandError(Exit.USAGE, f"--out {out}: {error.strerror}; name another file") from error


def nats_commands(connection: Connection, key: str, *, everything: bool) -> list[str]:
    """The commands of the nats CLI that show the same events without the tree; --everything shows all events."""
    from shared.inspect.timeline.tree import nats_words

    return [connection.nats(*words) for words in nats_words(key, everything=everything)]


def as_json(
    roots: Any, annotations: "Annotations | None" = None, told_fields: "ToldFields | None" = None
) -> list[dict[str, Any]]:
    """The tree as a list, from the top down. A cause that is not in the log has only its id.

    `parked` are the contexts in which the message is parked. `journal` is null when the database is elsewhere.
    """
    from shared.inspect.timeline.annotations import Annotations
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.inspect.timeline.tree import steps
    from shared.wire.messages import rfc3339

    annotations, told_fields = annotations or Annotations(), told_fields or ToldFields()
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
                    "stranger": message.strange or None,
                    **told_fields.of(message),
                }
                if (message := step.node.message)
                else _without_message(step.node)
            ),
        }
        for step in steps(roots)
    ]


def _without_message(node: "Node") -> dict[str, Any]:
    if node.ahead is None:
        return {"kind": "cmd" if node.is_command else "unknown"}
    ahead = node.ahead
    return {
        "kind": "ahead",
        "waits": ahead.kind,
        "context": ahead.context,
        "text": ahead.text,
        "then": [*ahead.then],
    }


def _milliseconds(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(milliseconds=1)
