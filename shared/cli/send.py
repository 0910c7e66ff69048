"""`chorus send`: what `nats pub -J` does, with the command checked before and its outcome awaited after."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json, ShowNats
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.telling import Telling
    from shared.ports.broker import Stored
    from shared.send.commands import Answer, Sent


def send(
    command: Annotated[str, Parameter(help="CONTEXT.COMMAND")],
    key: Annotated[str, Parameter(help="what it is about, such as k-42")],
    /,
    *fields: Annotated[str, Parameter(name="FIELD=VALUE", help="the body, such as items[0].name=blue")],
    body: Annotated[str | None, Parameter(help="the body instead: JSON, a file, or - for standard input")] = None,
    id: Annotated[str | None, Parameter(help="the command's id (Nats-Msg-Id): sent twice, it has one effect")] = None,
    wait: Annotated[bool, Parameter(negative="", show_default=False, help="wait for the outcome")] = False,
    timeout: Annotated[str, Parameter(help="how long to wait for it")] = "10s",
    json: Json = False,
    show_nats: ShowNats = False,
    connection: Connection = HERE,
) -> int:
    """Send a command, and wait for its outcome if asked.

    Prints the PubAck: the stream has the command, or had it before (duplicate).
    With --wait also the events that answer it; exit 1 if they refuse it.
    `chorus send CONTEXT.COMMAND --help` lists the fields of a command.

    For example:

        chorus send CONTEXT.COMMAND k-42 size=3 items[0].name=blue --wait
        chorus send CONTEXT.COMMAND k-42 --body body.json --id do-k-42
    """
    import anyio

    from shared import catalog
    from shared.config.units import parse_duration
    from shared.context import Context
    from shared.send.commands import ComposeError, answer, check_body, find_command
    from shared.send.commands import send as publish
    from shared.send.identity import other_use
    from shared.wire.messages import check_command_id, check_key, command_subject

    try:
        loaded = catalog.load_all(catalog.read_settings(os.environ))
        members = loaded.members
        if (wrong := loaded.reason(command.partition(".")[0])) is not None:
            raise wrong
        context, command_type = find_command(command, members)
        said = _body(command_type, fields, body)
        patience_s = parse_duration(timeout).total_seconds()
        check_body(command_type, said, check_key(key))
        if id:
            check_command_id(id)
    except (ComposeError, ValueError) as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    if show_nats:
        headers = [f"--header=Nats-Msg-Id:{id}"] if id else []
        subject = command_subject(context, command_type.__name__, key)
        show_lines([connection.nats("pub", "-J", *headers, subject, said.decode(errors="replace"))])
        if wait:
            show_lines([connection.nats("sub", "--stream=EVENTS", "--all", f"evt.*.*.*.{key}")])
        return Exit.OK

    async def run() -> "tuple[Sent, Answer | None]":
        async with connection.connected("send") as broker:
            sent = await publish(broker, context, command_type.__name__, key, said, id)
            if other := await other_use(broker, sent):
                raise CommandError(Exit.NO, f"the id {id!r} was used for {other}; nothing was sent, use a new id")
            if not json:
                show_lines([_stored(sent)])
            return sent, await answer(broker, sent, patience_s) if wait else None

    sent, answered = anyio.run(run)
    if json:
        show_json(_as_json(sent, answered))
    elif answered is not None:
        from shared.inspect.telling import Telling

        show_lines(_described(sent, answered, Telling(one for one in members.values() if isinstance(one, Context))))
    if answered is not None and answered.kind == "none":
        raise CommandError(Exit.NO, f"no answer within {timeout}; is the {context} worker running?")
    return Exit.NO if answered is not None and answered.kind == "rejected" else Exit.OK


def _body(command_type: Any, fields: tuple[str, ...], body: str | None) -> bytes:
    """What is sent: the body that the words spell, or the one that --body names, as it is."""
    from shared.send.commands import compose

    if body is None:
        return compose(command_type, fields)
    if fields:
        raise CommandError(Exit.USAGE, f"--body is the whole body; {fields[0]!r} cannot be put into it")
    if body.lstrip().startswith(("{", "[")):
        return body.encode()
    try:
        return sys.stdin.buffer.read() if body == "-" else Path(body).read_bytes()
    except OSError as error:
        raise CommandError(Exit.USAGE, f"--body {body}: {error.strerror}") from error


def _stored(sent: "Sent") -> str:
    stream, sequence, duplicate = sent.published
    if duplicate:
        return f"{stream} has it already, at sequence {sequence} (duplicate)"
    return f"stored in {stream} at sequence {sequence}"


def _described(sent: "Sent", answered: "Answer", telling: "Telling") -> list[str]:
    if answered.kind == "quiet":
        return ["decided without an event: there was nothing left to do"]
    return [_line(sent, stored, telling) for stored in answered.events]


def _line(sent: "Sent", stored: "Stored", telling: "Telling") -> str:
    """An event with the fields that tell it from others; a refusal without those that repeat the command."""
    import msgspec

    from shared.inspect.timeline import message_of
    from shared.send.commands import is_refusal
    from shared.wire.messages import parse_subject
    from shared.wire.streams import EVENTS

    subject = parse_subject(stored.subject)
    repeats = is_refusal(stored) and subject.type != "CommandRejected"
    asked = msgspec.json.decode(sent.body) if repeats else {}
    says = telling.says(message_of(EVENTS, stored))
    said = [value for name, value in says.items() if name not in asked]
    details = msgspec.json.decode(stored.body).get("details", []) if subject.type == "CommandRejected" else []
    line = " ".join([f"{subject.context}.{subject.type}", *said])
    return "\n".join([line, *(f"    {detail['path']}: {detail['message']}" for detail in details)])


def _as_json(sent: "Sent", answered: "Answer | None") -> dict[str, Any]:
    import msgspec

    from shared.wire.messages import MSG_ID, parse_subject, rfc3339

    published = {"stream": sent.published.stream, "seq": sent.published.sequence, "duplicate": sent.published.duplicate}
    document: dict[str, Any] = {"command_id": sent.id, "subject": sent.subject, **published}
    if answered is not None:
        document["outcome"] = answered.kind
        document["events"] = [
            {
                "id": stored.headers.get(MSG_ID),
                "context": parse_subject(stored.subject).context,
                "type": parse_subject(stored.subject).type,
                "at": rfc3339(stored.at),
                "body": msgspec.json.decode(stored.body),
            }
            for stored in answered.events
        ]
    return document
