"""`chorus parked ls` and `show`: messages that made our code fail, and events that somebody refuses."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from shared.cli.adapters import databases
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, OPERATOR, Connection, Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.ports.broker import Stored
    from shared.ports.databases import Databases
    from shared.repair.strangers import SetAside
    from shared.repair.unresolved import Parked, Refused, Undelivered, Unresolved

STRANGERS_SHOWN: Final = 20

What: TypeAlias = Annotated[
    str, Parameter(name="WHAT", help="a key, a message id, or CONTEXT/NUMBER as `parked ls` prints")
]


def ls(
    context: Annotated[str | None, Parameter(name="CONTEXT", help="one context; else all")] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """List what waits for an operator.

    A message that made our code fail parks its key: it and all later messages of
    the key wait in order, and other keys go on. An event that the broker refuses
    for good, for example because another message has its id, waits with all later
    events of its key; its number begins with r. So does an event that a group of a
    read side cannot deliver. Exit 1 when something waits.

    Below it lists the newest messages in EVENTS that their context did not
    publish. They wait for nobody: the contexts have set them aside and decide
    nothing on them.

    For example:

        chorus parked ls
        chorus parked ls CONTEXT --json
    """
    from shared.repair.strangers import set_aside_in

    here, unresolved = read_unresolved(context)
    strangers, in_all = set_aside_in(here, _contexts(context), STRANGERS_SHOWN)
    if json:
        show_json([*(summary(one) for one in unresolved), *(_stranger_as_json(one) for one in strangers)])
    elif not unresolved:
        show_lines(["nothing is parked"])
    else:
        from rich.table import Table

        from shared.repair.unresolved import Parked

        table = Table("number", "key", "type", "since", "why", "what to do", box=None, pad_edge=False)
        for one in unresolved:
            waits = isinstance(one, Parked) and not one.reason
            why = "waits behind the one before" if waits else one.cause
            table.add_row(
                one.number,
                one.key,
                one.subject.split(".")[2],
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                f"({one.verdict}) {why}" if one.verdict else why,
                "" if waits else one.remedy,
            )
        show(table)
    if not json:
        show_lines(_stranger_lines(strangers, in_all))
    return Exit.NO if unresolved else Exit.OK


def _stranger_lines(strangers: "list[SetAside]", in_all: int) -> list[str]:
    if not strangers:
        return []
    told = "messages in EVENTS that their context did not publish (chorus audit finds all of them)"
    return [
        f"set aside, {in_all} in all: {told}",
        *(f"  EVENTS {one.sequence}  {one.subject}: {one.reason} ({', '.join(one.contexts)})" for one in strangers),
    ]


def _stranger_as_json(one: "SetAside") -> dict[str, Any]:
    return {
        "kind": "stranger",
        "sequence": one.sequence,
        "subject": one.subject,
        "message_id": one.message_id,
        "at": one.at,
        "cause": one.reason,
        "contexts": [*one.contexts],
    }


def show_one(what: What, /, *, json: Json = False, connection: Connection = HERE) -> None:
    """Show parked messages and refused events whole.

    Shows the traceback of a parked message. Of a refused event it shows the message
    that has its id in the stream, if the broker answers.

    For example:

        chorus parked show k-42
        chorus parked show CONTEXT/1 --json
        chorus parked show CONTEXT/r7
    """
    from shared.repair.unresolved import Parked, Refused, Undelivered

    _, unresolved = read_unresolved(None)
    chosen = choose_by_name(unresolved, what)
    standing = {one.number: stored_under(connection, one) if isinstance(one, Refused) else None for one in chosen}
    if json:
        show_json([_as_json(one, standing[one.number]) for one in chosen])
        return
    for one in chosen:
        if isinstance(one, Parked):
            show_lines(_parked_lines(one))
        elif isinstance(one, Undelivered):
            show_lines(_undelivered_lines(one))
        else:
            show_lines(_refused_lines(one, standing[one.number]))


def read_unresolved(context: str | None) -> tuple["Databases", list["Unresolved"]]:
    """The databases, and what waits in them: parked messages first, then refused rows."""
    from shared import catalog
    from shared.repair.parked import parked_in, refused_in, undelivered_in

    if context is not None:
        catalog.check_known(context)
    here, contexts = databases(catalog.read_settings(os.environ)), _contexts(context)
    return here, [
        *parked_in(here, contexts),
        *refused_in(here, contexts),
        *undelivered_in(here, contexts),
    ]


def _contexts(chosen: str | None) -> list[str]:
    from shared import catalog

    return [name for name in catalog.names() if chosen in (None, name)]


def choose_by_name(unresolved: list["Unresolved"], what: str) -> list["Unresolved"]:
    """The messages and rows that the operator named; raises CommandError when there are none."""
    from shared.repair.unresolved import NothingFoundError, choose

    try:
        return choose(unresolved, what)
    except NothingFoundError as error:
        raise CommandError(Exit.NO, str(error)) from error


def stored_under(connection: Connection, row: "Refused") -> "Stored | None":
    """The message that has the id of the refused row; None when there is none or the broker does not answer."""
    import anyio

    from shared.config.connection import ConnectionOptionsError
    from shared.ports.broker import BrokerError

    if not row.sequence:
        return None

    async def ask() -> "Stored | None":
        async with connection.connected("parked", OPERATOR) as broker:
            return await broker.get(row.stream, row.sequence)

    try:
        return anyio.run(ask)
    except (BrokerError, CommandError, ConnectionOptionsError):
        return None


def summary(one: "Unresolved") -> dict[str, Any]:
    """The row of `ls --json`."""

    return {
        "number": one.number,
        "kind": type(one).__name__.lower(),
        "context": one.context,
        "key": one.key,
        "message_id": one.message_id,
        "subject": one.subject,
        "at": one.at.isoformat(),
        "cause": one.cause,
        "remedy": one.remedy,
        "verdict": one.verdict,
    }


def _as_json(one: "Unresolved", stored: "Stored | None") -> dict[str, Any]:
    whole = {**summary(one), "headers": one.headers, "body": one.body, "reason": one.reason}
    if stored is not None:
        whole["stands"] = {
            "sequence": stored.sequence,
            "at": stored.at.isoformat(),
            "subject": stored.subject,
            "headers": dict(stored.headers),
            "body": stored.body.decode(errors="backslashreplace"),
        }
    return whole


def _parked_lines(message: "Parked") -> list[str]:
    return [
        f"{message.number}  {message.subject}  {message.message_id}",
        f"  {message.stream} #{message.sequence} at {message.at:%Y-%m-%d %H:%M:%S.%f}",
        f"  headers  {message.headers}",
        f"  body     {message.body}",
        *(f"  {line}" for line in message.reason.splitlines()),
    ]


def _undelivered_lines(event: "Undelivered") -> list[str]:
    return [
        f"{event.number}  {event.subject}  {event.message_id}",
        f"  {event.stream} #{event.sequence}, parked since {event.at:%Y-%m-%d %H:%M:%S},"
        f" {event.behind} more of its key wait behind it",
        f"  headers  {event.headers}",
        f"  body     {event.body}",
        f"  {event.reason}; {event.remedy}",
    ]


def _refused_lines(row: "Refused", stored: "Stored | None") -> list[str]:
    lines = [
        f"{row.number}  {row.subject}  {row.message_id}",
        f"  refused since {row.at:%Y-%m-%d %H:%M:%S}, {row.behind} more of its key wait behind it",
        f"  headers  {row.headers}",
        f"  body     {row.body}",
        f"  {row.reason}",
    ]
    if stored is not None:
        lines += [
            f"  the message at {row.stream} #{stored.sequence}: {stored.subject} at {stored.at:%Y-%m-%d %H:%M:%S.%f}",
            f"    headers  {dict(stored.headers)}",
            f"    body     {stored.body.decode(errors='backslashreplace')}",
        ]
    elif row.sequence:
        lines.append(f"  the message at {row.stream} #{row.sequence} could not be read: the broker did not answer")
    return [*lines, f"  {row.remedy}"]
