"""`chorus parked retry`, `skip` and `void`: what an operator decides about what waits, and what comes of it."""

import getpass
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.cli.parked import What, chosen_of, everything, stored_under
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from shared.ports.broker import Stored
    from shared.repair.parked import Unsettled

Why: TypeAlias = Annotated[str, Parameter(help="goes on record with your name")]
Yes: TypeAlias = Annotated[bool, Parameter(negative="", show_default=False, help="do not ask")]
Timeout: TypeAlias = Annotated[float, Parameter(help="seconds to wait for what comes of it")]
NoWait: TypeAlias = Annotated[
    bool, Parameter(name="--no-wait", negative="", show_default=False, help="do not wait for what comes of it")
]


def retry(what: What, /, *, timeout: Timeout = 10.0, no_wait: NoWait = False, json: Json = False) -> int:
    """Try a parked key again, in order.

    The worker that holds the key decides its parked messages again, with all that
    waits behind them, and publishes its refused events again. Exit 1 when anything
    of it is still there afterwards.

    For example:

        chorus parked retry k-42
        chorus parked retry CONTEXT/r7
    """
    import anyio

    from shared.repair import parked as ops

    data_dir, unsettled = everything(None)
    chosen = chosen_of(unsettled, what)
    said = anyio.run(partial(ops.retry, data_dir, chosen, who=getpass.getuser()))
    return _told(data_dir, "retried", said, chosen, timeout_s=0.0 if no_wait else timeout, wait=not no_wait, json=json)


def skip(
    what: What, /, *, why: Why, yes: Yes = False, timeout: Timeout = 10.0, no_wait: NoWait = False, json: Json = False
) -> int:
    """Leave a parked message out, on record.

    It is never decided; what waits behind it goes on. Who skipped it and why is
    kept in the context's database, table `skipped`.

    For example:

        chorus parked skip CONTEXT/1 --why "a test message of 2026-11-21"
    """
    import anyio

    from shared.repair import parked as ops

    data_dir, unsettled = everything(None)
    parked = [one for one in chosen_of(unsettled, what) if isinstance(one, ops.Parked) and one.reason]
    if len(parked) != 1:
        raise CommandError(Exit.USAGE, f"{what!r} are {len(parked)} messages; name one as CONTEXT/NUMBER")
    _confirm(f"{parked[0].subject} will never be decided. Skip it?", "not skipped", yes=yes)
    said = anyio.run(partial(ops.skip, data_dir, parked[0], who=getpass.getuser(), why=why))
    return _told(data_dir, "skipped", said, parked, timeout_s=timeout, wait=not no_wait, json=json)


def void(
    what: Annotated[str, Parameter(name="ID", help="a message id, or CONTEXT/rNUMBER as `parked ls` prints")],
    /,
    *,
    why: Why,
    yes: Yes = False,
    timeout: Timeout = 10.0,
    no_wait: NoWait = False,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Declare a message under an id of a context a stranger's.

    The worker then publishes its own event under the next edition of the id, such
    as CONTEXT/AGGREGATE-KEY@1.2. An id that is in no journal is only recorded, so
    that the context starts in spite of it; its worker may be stopped. Who declared
    it and why is kept in the context's database, table `strangers`.

    For example:

        chorus parked void CONTEXT/r7 --why "a script of 2026-11-21 took the id"
        chorus parked void CONTEXT/AGGREGATE-KEY@1 --why "no such key" --yes
    """
    import anyio

    from shared.repair import parked as ops
    from shared.repair import strangers

    data_dir, unsettled = everything(None)
    refused = [one for one in unsettled if isinstance(one, ops.Refused)]
    named = [row for row in refused if what in (row.key, row.message_id, row.number)]
    if not named:
        return _void_stray(data_dir, unsettled, what, why, connection, yes=yes, within_s=timeout, json=json)
    if len(named) > 1:
        raise CommandError(Exit.USAGE, f"{what!r} are {len(named)} events; name one as CONTEXT/rNUMBER")
    row = named[0]
    if not row.sequence:
        raise CommandError(Exit.NO, f"no other message has the id {row.message_id}: {row.reason}; {row.remedy}")
    stored = stored_under(connection, row)
    _confirm(f"{row.context} will publish {row.message_id} under its next edition. Void it?", "not voided", yes=yes)
    said = anyio.run(partial(strangers.void, data_dir, row, who=getpass.getuser(), why=why, stored=stored))
    return _told(data_dir, "voided", said, [row], timeout_s=timeout, wait=not no_wait, json=json)


def _void_stray(
    data_dir: "Path",
    unsettled: Sequence["Unsettled"],
    what: str,
    why: str,
    connection: Connection,
    *,
    yes: bool,
    within_s: float,
    json: bool,
) -> int:
    """Record a message whose id is in no journal."""
    import anyio

    from shared.adapters.clock import SystemClock
    from shared.ports.rows import StrangerRow
    from shared.repair import strangers
    from shared.wire.messages import rfc3339

    context = _context_of(what)
    if any(what in (one.key, one.message_id, one.number) for one in unsettled):
        raise CommandError(Exit.NO, f"{what} is parked, which is another trouble; chorus parked skip leaves it out")
    if (place := strangers.place_in_journal(data_dir, context, what)) is not None:
        raise CommandError(Exit.NO, f"{what} is an event of {context} itself, {place}: nothing was declared void")
    stored, problem = _looked_up(what, connection, within_s)
    if stored is None and not problem:
        raise CommandError(Exit.NO, f"EVENTS has no message under {what}: nothing was declared void; check the id")
    _confirm(f"{context} will ignore the message {what}. Void it?", "not voided", yes=yes)
    sequence, subject = (0, "") if stored is None else (stored.sequence, stored.subject)
    at = rfc3339(SystemClock().now())
    stranger = StrangerRow(what, sequence, subject, "in no journal", at, getpass.getuser(), why)
    anyio.run(partial(strangers.declare_stranger, data_dir, context, stranger))
    if json:
        show_json({"voided": 1, "message_id": what, "sequence": sequence, "subject": subject, "problem": problem})
    else:
        if problem:
            complain(f"where {what} stands in EVENTS is not on record: {problem}")
        place = f" at sequence {sequence}, {subject}," if stored else ""
        show_lines([f"voided: {what}{place} is on record as a stranger's; start the workers of {context} again"])
    return Exit.OK


def _context_of(message_id: str) -> str:
    from shared import catalog
    from shared.wire.messages import is_event_id

    context = message_id.partition("/")[0]
    contexts = catalog.without_services(catalog.read_settings(os.environ))
    if not is_event_id(message_id) or context not in contexts:
        form = "CONTEXT/AGGREGATE-KEY@VERSION"
        text = f"{message_id!r} is neither listed by chorus parked ls nor the id of an event, {form}"
        raise CommandError(Exit.NO, text)
    return context


def _looked_up(message_id: str, connection: Connection, within_s: float) -> tuple["Stored | None", str]:
    """The message under the id in EVENTS, or why it could not be looked up."""
    import anyio

    from shared.config.connection import ConnectionOptionsError
    from shared.ports.broker import BrokerError
    from shared.repair.strangers import find_in_events

    async def find() -> "Stored | None":
        async with connection.connected("parked") as broker:
            with anyio.fail_after(within_s):
                return await find_in_events(broker, message_id)

    try:
        return anyio.run(find), ""
    except TimeoutError:
        return None, f"EVENTS was not read to its end in {within_s:g} s (--timeout)"
    except (BrokerError, CommandError, ConnectionOptionsError) as error:
        return None, str(error)


def _confirm(question: str, refused: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(Exit.USAGE, "nobody is there to confirm; add --yes")
    if input(f"{question} [y/N] ").strip().lower() != "y":
        raise CommandError(Exit.NO, refused)


def _told(
    data_dir: "Path",
    verdict: str,
    said: int,
    chosen: Sequence["Unsettled"],
    *,
    timeout_s: float,
    wait: bool,
    json: bool,
) -> int:
    """Print what came of a verdict; exit 1 when anything of it still waits for an operator."""
    import anyio

    from shared.adapters.clock import SystemClock
    from shared.repair.outcomes import outcomes

    summary = {verdict: said, "keys": sorted({one.key for one in chosen})}
    if not wait:
        if json:
            show_json(summary)
        else:
            show_lines([f"{verdict}: {said}; the worker acts on it within two seconds (chorus parked ls)"])
        return Exit.OK
    found = anyio.run(partial(outcomes, data_dir, chosen, SystemClock(), timeout_s=timeout_s))
    if json:
        told = [{"number": o.number, "message_id": o.message_id, "outcome": o.outcome} for o in found]
        show_json({**summary, "outcomes": told})
    else:
        show_lines(f"{outcome.number}  {outcome.message_id}  {outcome.outcome}" for outcome in found)
    return Exit.OK if all(outcome.is_settled for outcome in found) else Exit.NO
