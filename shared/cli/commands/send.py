"""`chorus send`: publishes a command as `nats pub -J` does, after checking it, and waits for its outcome."""

import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, PRODUCER, TESTER, Connection, Json, ShowNats
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.ports.broker import Stored
    from shared.send.publish import Outcome, Sent


def send(
    command: Annotated[str, Parameter(help="CONTEXT.COMMAND")],
    key: Annotated[str, Parameter(help="the last part of the command's subject, such as k-42")],
    /,
    *fields: Annotated[str, Parameter(name="FIELD=VALUE", help="the body, such as items[0].name=blue")],
    body: Annotated[str | None, Parameter(help="the whole body: JSON, a file, or - for standard input")] = None,
    id: Annotated[str | None, Parameter(help="its id (Nats-Msg-Id); two commands with one id have one effect")] = None,
    acting_for: Annotated[str, Parameter(show_default=False, help="in whose name it is sent (Acting-For)")] = "",
    wait: Annotated[bool, Parameter(negative="", show_default=False, help="wait for the outcome")] = False,
    timeout: Annotated[str, Parameter(help="how long to wait for it")] = "10s",
    json: Json = False,
    show_nats: ShowNats = False,
    connection: Connection = HERE,
) -> int:
    """Send a command, and wait for its outcome if asked.

    Prints the PubAck: the stream stored the command, or had it before (duplicate).
    With --wait it also prints the events that answer, and exits 1 if they refuse.
    `chorus send CONTEXT.COMMAND --help` lists the fields of a command.

    For example:

        chorus send CONTEXT.COMMAND k-42 size=3 items[0].name=blue --wait
        chorus send CONTEXT.COMMAND k-42 --body body.json --id do-k-42
    """
    import anyio

    from shared import catalog
    from shared.config.units import parse_duration
    from shared.send.compose import find_command
    from shared.wire.messages import ACTING_FOR, MSG_ID, check_actor

    try:
        loaded = catalog.load_all(catalog.read_settings(os.environ))
        members = loaded.members
        if (wrong := loaded.reason(command.partition(".")[0])) is not None:
            raise wrong
        context, command_type = find_command(command, members)
        content = _checked_body(command_type, key, fields, body, id)
        check_actor(acting_for)
        patience_s = parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    name = command_type.__name__
    if show_nats:
        headers = {MSG_ID: id or "", ACTING_FOR: acting_for}
        show_lines(_nats_commands(connection, context, name, key, content, headers, wait=wait))
        return Exit.OK
    command_of = (context, name, key, content, id)
    sent, outcome = anyio.run(_send, connection, command_of, acting_for, patience_s if wait else None, json)
    if json:
        show_json(_as_json(sent, outcome))
    elif outcome is not None:
        from shared.inspect.timeline.told_fields import ToldFields

        show_lines(_describe(sent, outcome, ToldFields(members.values())))
    if outcome is not None and outcome.kind == "none":
        raise CommandError(Exit.NO, f"no answer came within {timeout}; check the worker: chorus health {context}")
    return Exit.NO if outcome is not None and outcome.kind == "rejected" else Exit.OK


async def _send(
    connection: Connection,
    command: tuple[str, str, str, bytes, str | None],
    acting_for: str,
    wait_s: float | None,
    quiet: bool,
) -> "tuple[Sent, Outcome | None]":
    """Publish the command, print the PubAck unless `quiet`, and wait for the outcome when `wait_s` is given."""
    from shared.send.publish import send, wait_for_outcome

    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(connection.connected("send", PRODUCER))
        # A producer may read nothing, so the outcome is read as a tester, on a connection of its own.
        watcher = None if wait_s is None else await stack.enter_async_context(connection.connected("send", TESTER))
        sent = await send(broker, *command, watcher=watcher, acting_for=acting_for)
        if sent.published.duplicate and (other := await _other_use(connection, sent)):
            raise CommandError(Exit.NO, f"the id {sent.id!r} was used for {other}; nothing was stored, use a new id")
        if not quiet:
            show_lines([_describe_ack(sent)])
        return sent, None if wait_s is None or watcher is None else await wait_for_outcome(watcher, sent, wait_s)


async def _other_use(connection: Connection, sent: "Sent") -> str | None:
    """The other command that had the id of this duplicate, if a tester's key is here to look for it."""
    from shared.ports.broker import BrokerDeniedError, BrokerLoginError
    from shared.send.duplicate_id import find_other_use

    try:
        async with connection.connected("send", TESTER) as watcher:
            return await find_other_use(watcher, sent)
    except (BrokerDeniedError, BrokerLoginError):
        complain(f"the id {sent.id!r} was used before; a producer cannot see whether for this command")
        return None


def _checked_body(command_type: Any, key: str, fields: tuple[str, ...], body: str | None, id: str | None) -> bytes:
    """The body of the command; raises ValueError for a mistake in body, key or id."""
    from shared.send.compose import check_body
    from shared.wire.messages import check_command_id, check_key

    content = _body(command_type, fields, body)
    check_body(command_type, content, check_key(key))
    if id:
        check_command_id(id)
    return content


def _nats_commands(
    connection: Connection,
    context: str,
    name: str,
    key: str,
    content: bytes,
    given: Mapping[str, str],
    *,
    wait: bool,
) -> list[str]:
    """The commands of the nats CLI that publish the command and, with `wait`, show its events."""
    from shared.wire.messages import command_subject

    headers = [f"--header={header}:{value}" for header, value in given.items() if value]
    subject = command_subject(context, name, key)
    publish = connection.nats("pub", "-J", *headers, subject, content.decode(errors="replace"))
    follow = connection.nats("sub", "--stream=EVENTS", "--all", f"evt.*.*.*.{key}")
    return [publish, follow] if wait else [publish]


def _body(command_type: Any, fields: tuple[str, ...], body: str | None) -> bytes:
    """The body that the words spell, or the content of --body as it is."""
    from shared.send.compose import compose

    if body is None:
        return compose(command_type, fields)
    if fields:
        raise CommandError(Exit.USAGE, f"--body is the whole body; leave out --body or {fields[0]!r}")
    if body.lstrip().startswith(("{", "[")):
        return body.encode()
    try:
        return sys.stdin.buffer.read() if body == "-" else Path(body).read_bytes()
    except OSError as error:
        raise CommandError(Exit.USAGE, f"--body {body}: {error.strerror}") from error


def _describe_ack(sent: "Sent") -> str:
    stream, sequence, duplicate = sent.published
    if duplicate:
        return f"{stream} has it already, at sequence {sequence} (duplicate)"
    return f"stored in {stream} at sequence {sequence}"


def _describe(sent: "Sent", outcome: "Outcome", told_fields: "ToldFields") -> list[str]:
    from shared.send.publish import EVENTS_WITHIN_S

    if outcome.kind == "quiet":
        context = sent.subject.split(".")[1]
        reasons = f"there was nothing left to do, or the worker cannot publish (see chorus health {context})"
        return [f"decided, and no event followed within {EVENTS_WITHIN_S:g}s: {reasons}"]
    return [_line(sent, stored, told_fields) for stored in outcome.events]


def _line(sent: "Sent", stored: "Stored", told_fields: "ToldFields") -> str:
    """An event with its told fields; a refusal without the fields that repeat the command."""
    import msgspec

    from shared.inspect.timeline.tree import message_of
    from shared.send.publish import is_refusal
    from shared.wire.messages import parse_subject
    from shared.wire.streams import EVENTS

    subject = parse_subject(stored.subject)
    repeats = is_refusal(stored) and subject.type != "CommandRejected"
    asked = msgspec.json.decode(sent.body) if repeats else {}
    told = told_fields.of(message_of(EVENTS, stored))
    shown = [value for name, value in told.items() if name not in asked]
    details = msgspec.json.decode(stored.body).get("details", []) if subject.type == "CommandRejected" else []
    line = " ".join([f"{subject.context}.{subject.type}", *shown])
    return "\n".join([line, *(f"    {detail['path']}: {detail['message']}" for detail in details)])


def _as_json(sent: "Sent", outcome: "Outcome | None") -> dict[str, Any]:
    import msgspec

    from shared.wire.messages import MSG_ID, parse_subject, rfc3339

    published = {"stream": sent.published.stream, "seq": sent.published.sequence, "duplicate": sent.published.duplicate}
    document: dict[str, Any] = {"command_id": sent.id, "subject": sent.subject, **published}
    if outcome is not None:
        document["outcome"] = outcome.kind
        document["events"] = [
            {
                "id": stored.headers.get(MSG_ID),
                "context": parse_subject(stored.subject).context,
                "type": parse_subject(stored.subject).type,
                "at": rfc3339(stored.at),
                "body": msgspec.json.decode(stored.body),
            }
            for stored in outcome.events
        ]
    return document
