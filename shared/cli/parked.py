"""`chorus parked`: messages that our code could not take, and what becomes of them."""

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show, show_json, show_lines
from shared.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from shared.ops.parked import Parked

What: TypeAlias = Annotated[
    str, Parameter(name="WHAT", help="a key, a message id, or CONTEXT/NUMBER as `parked ls` prints")
]


def ls(context: Annotated[str | None, Parameter(name="CONTEXT")] = None, /, *, json: Json = False) -> None:
    """List messages that our code could not take.

    A message that made our code fail parks its key: it and all later ones of the
    key wait in order, everything else flows.

    For example:

        chorus parked ls
        chorus parked ls payments --json
    """
    _, parked = _all(context)
    if json:
        show_json([_summary(message) for message in parked])
    elif not parked:
        show_lines(["nothing is parked"])
    else:
        from rich.table import Table

        table = Table("number", "key", "type", "at", "why", box=None, pad_edge=False)
        for message in parked:
            why = message.cause or "waits behind the one before"
            table.add_row(
                f"{message.context}/{message.id}",
                message.key,
                message.subject.split(".")[2],
                f"{message.at:%Y-%m-%d %H:%M:%S}",
                f"({message.verdict}) {why}" if message.verdict else why,
            )
        show(table)


def show_one(what: What, /, *, json: Json = False) -> None:
    """Show such messages whole, with the traceback.

    For example:

        chorus parked show o-42
        chorus parked show payments/1 --json
    """
    _, parked = _all(None)
    chosen = _choose(parked, what)
    if json:
        show_json([{**_summary(m), "headers": m.headers, "body": m.body, "reason": m.reason} for m in chosen])
        return
    for message in chosen:
        show_lines(
            [
                f"{message.context}/{message.id}  {message.subject}  {message.message_id}",
                f"  {message.stream} #{message.sequence} at {message.at:%Y-%m-%d %H:%M:%S.%f}",
                f"  headers  {message.headers}",
                f"  body     {message.body}",
                *(f"  {line}" for line in message.reason.splitlines()),
            ]
        )


def retry(what: What, /, *, json: Json = False) -> None:
    """Try a parked key again, in order.

    The worker that holds the key does it within two seconds, with all that waits
    behind it; if it fails again, the key stays parked.

    For example:

        chorus parked retry o-42
    """
    import anyio

    from shared.ops import parked as ops

    data_dir, parked = _all(None)
    chosen = _choose(parked, what)
    said = anyio.run(lambda: ops.retry(data_dir, chosen, who=getpass.getuser()))
    _said(json, "retried", said, chosen)


def skip(
    what: What,
    /,
    *,
    why: Annotated[str, Parameter(help="goes on record with your name")],
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="do not ask")] = False,
    json: Json = False,
) -> None:
    """Leave a parked message out, on record.

    It is never decided; what waits behind it goes on. Who skipped it and why is
    kept in the context's database, table `skipped`.

    For example:

        chorus parked skip payments/1 --why "test order of 2026-11-21"
    """
    import anyio

    from shared.ops import parked as ops

    data_dir, parked = _all(None)
    chosen = [message for message in _choose(parked, what) if message.reason]
    if len(chosen) != 1:
        raise CommandError(Exit.USAGE, f"{what!r} are {len(chosen)} messages; name one as CONTEXT/NUMBER")
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError(Exit.USAGE, "nobody is there to confirm; add --yes")
        if input(f"{chosen[0].subject} will never be decided. Skip it? [y/N] ").strip().lower() != "y":
            raise CommandError(Exit.NO, "not skipped")
    said = anyio.run(lambda: ops.skip(data_dir, chosen[0], who=getpass.getuser(), why=why))
    _said(json, "skipped", said, chosen)


def _all(context: str | None) -> tuple["Path", list["Parked"]]:
    from shared import catalog
    from shared.ops.parked import parked_in
    from shared.settings import load_settings
    from shared.spelling import did_you_mean

    names = catalog.names()
    if context is not None and context not in names:
        raise CommandError(Exit.USAGE, f"there is no context {context!r}{did_you_mean(context, names)}")
    data_dir = load_settings(os.environ).data_dir
    return data_dir, parked_in(data_dir, [name for name in (names if context is None else [context]) if name != "bank"])


def _choose(parked: list["Parked"], what: str) -> list["Parked"]:
    from shared.ops.parked import NothingParkedError, choose

    try:
        return choose(parked, what)
    except NothingParkedError as error:
        raise CommandError(Exit.NO, str(error)) from error


def _summary(message: "Parked") -> dict[str, Any]:
    return {
        "number": f"{message.context}/{message.id}",
        "context": message.context,
        "key": message.key,
        "message_id": message.message_id,
        "subject": message.subject,
        "at": message.at.isoformat(),
        "cause": message.cause,
        "verdict": message.verdict,
    }


def _said(json: bool, verdict: str, said: int, chosen: list["Parked"]) -> None:
    if json:
        show_json({verdict: said, "keys": sorted({message.key for message in chosen})})
    else:
        show_lines([f"{verdict}: {said}; the worker acts on it within two seconds (chorus parked ls)"])
