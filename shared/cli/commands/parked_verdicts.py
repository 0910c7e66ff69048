"""`chorus parked retry`, `skip` and `void`: record an operator's verdict and show what comes of it."""

import getpass
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from shared.cli.adapters import clock
from shared.cli.commands.parked import What, choose_by_name, read_unresolved, stored_under
from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, OPERATOR, Connection, Json, seconds
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.ports.broker import Stored
    from shared.ports.databases import Databases
    from shared.repair.unresolved import Unresolved

Why: TypeAlias = Annotated[str, Parameter(help="recorded with your user name")]
Yes: TypeAlias = Annotated[bool, Parameter(negative="", show_default=False, help="do not ask")]
Timeout: TypeAlias = Annotated[str, Parameter(help="how long to wait for the result")]
NoWait: TypeAlias = Annotated[
    bool, Parameter(name="--no-wait", negative="", show_default=False, help="do not wait for the result")
]


def retry(what: What, /, *, timeout: Timeout = "10s", no_wait: NoWait = False, json: Json = False) -> int:
    """Try a parked key again, in order.

    The worker that owns the key decides its parked messages again, with all
    messages behind them, publishes its refused events and sends its undelivered ones
    again. Exit 1 when any of them still waits afterwards.

    For example:

        chorus parked retry k-42
        chorus parked retry READ_SIDE-GROUP
    """
    import anyio

    from shared.repair import parked as ops

    databases, unresolved = read_unresolved(None)
    chosen = choose_by_name(unresolved, what)
    recorded = anyio.run(partial(ops.retry, databases, chosen, who=getpass.getuser()))
    return _report(
        databases,
        "retried",
        recorded,
        chosen,
        timeout_s=0.0 if no_wait else seconds(timeout),
        wait=not no_wait,
        json=json,
    )


def skip(
    what: What, /, *, why: Why, yes: Yes = False, timeout: Timeout = "10s", no_wait: NoWait = False, json: Json = False
) -> int:
    """Skip a parked message or event, and record who did and why.

    It is never decided or delivered, and the messages behind it go on. The table
    `skipped` (or `forwards_skipped`) records who skipped it and why.

    For example:

        chorus parked skip CONTEXT/1 --why "a test message of 2026-11-21"
    """
    import anyio

    from shared.repair import parked as ops
    from shared.repair.unresolved import Refused, Undelivered, why_no_skip

    databases, unresolved = read_unresolved(None)
    chosen = choose_by_name(unresolved, what)
    parked = [one for one in chosen if not isinstance(one, Refused) and one.reason]
    if not parked:
        raise CommandError(Exit.NO, f"{what!r} cannot be skipped: {why_no_skip(chosen[0], unresolved)}")
    if len(parked) > 1:
        raise CommandError(Exit.USAGE, f"{what!r} are {len(parked)} messages; name one as CONTEXT/NUMBER")
    never = "delivered" if isinstance(parked[0], Undelivered) else "decided"
    _confirm(f"{parked[0].subject} will never be {never}. Skip it?", "not skipped", yes=yes)
    recorded = anyio.run(partial(ops.skip, databases, parked[0], who=getpass.getuser(), why=why))
    return _report(databases, "skipped", recorded, parked, timeout_s=seconds(timeout), wait=not no_wait, json=json)


def void(
    what: Annotated[str, Parameter(name="ID", help="a message id, or CONTEXT/rNUMBER as `parked ls` prints")],
    /,
    *,
    why: Why,
    yes: Yes = False,
    timeout: Timeout = "10s",
    no_wait: NoWait = False,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Declare that a message under a context's id is a stranger's.

    The worker then publishes its own event under the next edition of the id, such
    as CONTEXT/AGGREGATE-KEY@1.2. If no journal has the id, the command only records
    it, so that the context can start; its worker may be stopped. The table
    `strangers` of its database records who declared it and why.

    For example:

        chorus parked void CONTEXT/r7 --why "a script of 2026-11-21 took the id"
        chorus parked void CONTEXT/AGGREGATE-KEY@1 --why "no such key" --yes
    """
    import anyio

    from shared.repair import strangers
    from shared.repair.unresolved import Refused

    databases, unresolved = read_unresolved(None)
    refused = [one for one in unresolved if isinstance(one, Refused)]
    named = [row for row in refused if what in (row.key, row.message_id, row.number)]
    if not named:
        return _void_stray(databases, unresolved, what, why, connection, yes=yes, within_s=seconds(timeout), json=json)
    if len(named) > 1:
        raise CommandError(Exit.USAGE, f"{what!r} are {len(named)} events; name one as CONTEXT/rNUMBER")
    row = named[0]
    if not row.sequence:
        raise CommandError(Exit.NO, f"no other message has the id {row.message_id}: {row.reason}; {row.remedy}")
    stored = stored_under(connection, row)
    _confirm(f"{row.context} will publish {row.message_id} under its next edition. Void it?", "not voided", yes=yes)
    give = partial(strangers.void, who=getpass.getuser(), why=why, at=clock().now(), stored=stored)
    recorded = anyio.run(give, databases, row)
    return _report(databases, "voided", recorded, [row], timeout_s=seconds(timeout), wait=not no_wait, json=json)


def _void_stray(
    databases: "Databases",
    unresolved: Sequence["Unresolved"],
    what: str,
    why: str,
    connection: Connection,
    *,
    yes: bool,
    within_s: float,
    json: bool,
) -> int:
    """Record a message whose id no journal has."""
    import anyio

    from shared.ports.rows import StrangerRow
    from shared.repair import strangers
    from shared.wire.messages import rfc3339

    context = _context_of(what)
    if any(what in (one.key, one.message_id, one.number) for one in unresolved):
        leave_out = f"chorus parked skip {what} --why '…' leaves it out"
        raise CommandError(Exit.NO, f"{what} is parked and not a stranger's; {leave_out}")
    if (row := strangers.find_in_journal(databases, context, what)) is not None:
        raise CommandError(Exit.NO, f"{what} is an event of {context} itself, {row}; nothing was declared void")
    stored, problem = _look_up(what, connection, within_s)
    if stored is None and not problem:
        raise CommandError(Exit.NO, f"EVENTS has no message under {what}; nothing was declared void, check the id")
    _confirm(f"{context} will ignore the message {what}. Void it?", "not voided", yes=yes)
    sequence, subject = (0, "") if stored is None else (stored.sequence, stored.subject)
    at = rfc3339(clock().now())
    is_lost = databases.is_lost(context)
    stranger = StrangerRow(what, sequence, subject, "in no journal", at, getpass.getuser(), why)
    anyio.run(partial(strangers.declare_stranger, databases, context, stranger))
    if json:
        show_json({"voided": 1, "message_id": what, "sequence": sequence, "subject": subject, "problem": problem})
    else:
        if problem:
            complain(f"the place of {what} in EVENTS is not recorded: {problem}")
        at_sequence = f" at sequence {sequence}, {subject}," if stored else ""
        then = f"run chorus rebuild {context} --force" if is_lost else f"start the workers of {context} again"
        show_lines([f"voided: {what}{at_sequence} is recorded as a stranger's; {then}"])
    return Exit.OK


def _context_of(message_id: str) -> str:
    from shared import catalog
    from shared.wire.messages import is_event_id

    context = message_id.partition("/")[0]
    if not is_event_id(message_id) or context not in catalog.names():
        form = "CONTEXT/AGGREGATE-KEY@VERSION"
        text = f"{message_id!r} is neither listed by chorus parked ls nor the id of an event, {form}"
        raise CommandError(Exit.NO, text)
    return context


def _look_up(message_id: str, connection: Connection, within_s: float) -> tuple["Stored | None", str]:
    """The message under the id in EVENTS, or the reason why it could not be read."""
    import anyio

    from shared.config.connection import ConnectionOptionsError
    from shared.ports.broker import BrokerError
    from shared.repair.strangers import find_in_events

    async def find() -> "Stored | None":
        async with connection.connected("parked", OPERATOR) as broker:
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
        raise CommandError(Exit.USAGE, "cannot ask for confirmation, standard input is not a terminal; add --yes")
    if input(f"{question} [y/N] ").strip().lower() != "y":
        raise CommandError(Exit.NO, refused)


def _report(
    databases: "Databases",
    verdict: str,
    recorded: int,
    chosen: Sequence["Unresolved"],
    *,
    timeout_s: float,
    wait: bool,
    json: bool,
) -> int:
    """Print what came of a verdict; return 1 when a message or row still waits for an operator."""
    import anyio

    from shared.repair.results import wait_for_results

    summary = {verdict: recorded, "keys": sorted({one.key for one in chosen})}
    if not wait:
        if json:
            show_json(summary)
        else:
            show_lines([f"{verdict}: {recorded}; the worker acts on it within two seconds (chorus parked ls)"])
        return Exit.OK
    found = anyio.run(partial(wait_for_results, databases, chosen, clock(), timeout_s=timeout_s))
    if json:
        outcomes = [{"number": o.number, "message_id": o.message_id, "outcome": o.outcome} for o in found]
        show_json({**summary, "outcomes": outcomes})
    else:
        show_lines(f"{outcome.number}  {outcome.message_id}  {outcome.outcome}" for outcome in found)
    return Exit.OK if all(outcome.is_resolved for outcome in found) else Exit.NO
