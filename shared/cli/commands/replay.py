"""`chorus replay`: decides recorded inputs again, folds a read side a second time, or writes a saga as a test."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from shared.cli.adapters import databases
from shared.cli.errors import CommandError, complain
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections import Counter


def replay(
    name: Annotated[str | None, Parameter(name="CONTEXT", help="the context to decide again, or the read side")] = None,
    /,
    *,
    diff: Annotated[
        bool, Parameter(negative="", show_default=False, help="show each event or row that differs")
    ] = False,
    into: Annotated[Path | None, Parameter(help="the directory of the second read model")] = None,
    group: Annotated[str | None, Parameter(help="one group of the read side; all by default")] = None,
    since: Annotated[str | None, Parameter(name="--from", help="compare what events from here on have changed")] = None,
    swap: Annotated[
        bool, Parameter(negative="", show_default=False, help="make the second read model the live one")
    ] = False,
    save_as_test: Annotated[str | None, Parameter(help="write the saga of this key as a test")] = None,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Decide what is recorded again, with the code at hand.

    --diff takes every input of a context (commands, events, deadlines, outcomes of
    calls) and compares the events that the code decides now with those in the
    journal. Exit 1 when one differs: run it before a release. Workers may run. The
    command only reads: nothing is published, called or written.

    For a read side, --diff folds EVENTS from the first event into a second database
    for each group, below --into, and compares it with the live one row by row. Exit
    1 when a row differs. --from takes a sequence of EVENTS or a time with its offset,
    and compares only rows that an event from there on has changed. --swap makes the
    second one the live one, whether its worker runs or not; then exit 0.

    --save-as-test prints a saga as a test in virtual time: its commands, those that
    its decisions depend on, and the facts. It is played once before; exit 1 when it
    comes out otherwise.

    For example:

        chorus replay CONTEXT --diff
        chorus replay CONTEXT --diff --json
        chorus replay READ_SIDE --into DIR --diff
        chorus replay READ_SIDE --into DIR --diff --swap
        chorus replay --save-as-test KEY > tests/test_saga.py
    """
    if save_as_test is not None:
        if name is not None or diff or json or into or group or since or swap:
            raise CommandError(Exit.USAGE, "--save-as-test takes the key of a saga, and no context")
        return _save_as_test(save_as_test, connection)
    if name is None or not diff:
        raise CommandError(Exit.USAGE, "name a context and give --diff, or give --save-as-test KEY")
    if into is not None:
        from shared.cli.commands.replay_groups import replay_groups

        return replay_groups(name, connection, into=into, group=group, since=since, swap=swap, json=json)
    if group or since or swap:
        raise CommandError(Exit.USAGE, "--group, --from and --swap are for a read side, with --into DIR")
    return _diff(name, connection, json=json)


def _diff(name: str, connection: Connection, *, json: bool) -> int:
    import anyio

    from shared import catalog
    from shared.readside.group import ReadSide
    from shared.replay.decide_again import Replay
    from shared.streams.file import read_topology

    settings = catalog.read_settings(os.environ)
    if isinstance(catalog.load_member(name, settings), ReadSide):
        raise CommandError(Exit.USAGE, f"{name} is a read side; give --into DIR, where its second databases are made")
    context = catalog.load(name, settings)
    partitions = read_topology(settings.streams_file).partitions
    differ = 0
    shown: list[Any] = []

    async def run() -> "Counter[str]":
        nonlocal differ
        with databases(settings).history(name) as history:
            async with connection.connected("replay") as broker:
                replaying = Replay(context, history, broker, partitions=partitions)
                async for difference in replaying.differences():
                    differ += 1
                    if json:
                        shown.append(difference.as_json())
                    else:
                        show_lines(difference.lines())
                return replaying.counts

    counts = anyio.run(run)
    if json:
        show_json({"differences": shown, "counts": dict(sorted(counts.items()))})
    else:
        show_lines([_summary(name, counts, differ)])
    if unrecorded := sum(times for kind, times in counts.items() if kind.startswith("unrecorded")):
        complain(
            f"{unrecorded} decisions were not taken again, because their inputs are not on record:"
            " CHORUS_RECORD_INPUTS was off, or the database was rebuilt"
        )
    return Exit.NO if differ else Exit.OK


def _summary(name: str, counts: "Counter[str]", differ: int) -> str:
    decided = {kind: times for kind, times in counts.items() if kind != "recorded events" and " " not in kind}
    kinds = ", ".join(f"{times} {kind}s" for kind, times in sorted(decided.items()))
    verdict = f"{differ} differ" if differ else "nothing differs"
    return f"{name}: {verdict}; decided again: {kinds or 'nothing'}; recorded events: {counts['recorded events']}"


def _save_as_test(key: str, connection: Connection) -> int:
    import anyio

    from shared import catalog
    from shared.context import Context
    from shared.replay.saga_recording import NoSuchSagaError, Recording, record
    from shared.streams.file import read_topology
    from shared.wire.messages import MalformedKeyError, check_key

    settings = catalog.read_settings(os.environ)
    contexts = [one for one in catalog.contexts(settings).values() if isinstance(one, Context)]
    partitions = read_topology(settings.streams_file).partitions
    try:
        check_key(key)
    except MalformedKeyError as error:
        raise CommandError(Exit.USAGE, str(error)) from error

    async def run() -> tuple[Recording, Recording]:
        async with connection.connected("replay") as broker:
            return await record(
                key, contexts, databases(settings), broker, partitions=partitions, settings=settings.of_contexts
            )

    try:
        recordings = anyio.run(run)
    except NoSuchSagaError as error:
        raise CommandError(Exit.NO, str(error)) from error

    from shared.replay.saga_test import ComesOutOtherwiseError, played, source

    try:
        show_lines([source(played(*recordings)).rstrip()])
    except ComesOutOtherwiseError as error:
        raise CommandError(Exit.NO, f"the saga comes out otherwise: {error}") from error
    return Exit.OK
