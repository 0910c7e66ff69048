"""`chorus replay` of a read side: folds EVENTS into a second database of each group, and shows the rows that differ."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.cli.adapters import second_database
from shared.cli.errors import CommandError, complain
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.cli.adapters import SqliteSecond
    from shared.cli.flags import Connection
    from shared.ports.broker import Broker
    from shared.readside.group import Group, ReadSide
    from shared.replay.read_model import ReadModelReplay

TAKEN_WITHIN_S: Final = 30.0
"""How long `--swap` waits for the process that runs the group."""
POLL_S: Final = 0.1


def replay_groups(
    name: str, connection: "Connection", *, into: Path, group: str | None, since: str | None, swap: bool, json: bool
) -> int:
    """Compare, and swap if that is asked; returns the exit code."""
    import anyio

    from shared import catalog
    from shared.readside.group import ReadSide, place_of
    from shared.replay.read_model import NotComparableError, ReadModelReplay, as_json, line

    settings = catalog.read_settings(os.environ)
    side = catalog.load_member(name, settings)
    if not isinstance(side, ReadSide):
        raise CommandError(Exit.USAGE, f"{name} decides, and has no read model; leave out --into")
    seconds = {
        one.name: second_database(settings, place_of(side.name, one.name), into, one) for one in _chosen(side, group)
    }
    for second in seconds.values() if swap else ():
        second.check_free()
    counts: dict[str, int] = {}
    shown: list[Any] = []
    replays: dict[str, ReadModelReplay] = {}

    async def run() -> None:
        async with connection.connected("replay") as broker:
            first = 0 if since is None else await _sequence(broker, since)
            for chosen, second in seconds.items():
                counts[chosen] = 0
                declared = side.group(chosen)
                assert declared is not None
                replays[chosen] = ReadModelReplay(side.name, declared, second, broker)
                async for difference in replays[chosen].differences(first):
                    counts[chosen] += 1
                    if json:
                        shown.append({"group": chosen, **as_json(difference)})
                    else:
                        show_lines([line(difference)])
                if not json:
                    show_lines([_summary(chosen, counts[chosen], replays[chosen], second)])

    try:
        anyio.run(run)
    except NotComparableError as error:
        raise CommandError(Exit.NO, str(error)) from error
    gone = max(replay.first for replay in replays.values()) - 1
    if gone > 0:
        complain(f"EVENTS begins with {gone + 1}: rows that follow from the events before it differ for that reason")
    if swap and gone > 0:
        raise CommandError(
            Exit.NO,
            f"not swapped: the live databases may know events that are gone; chorus rebuild {name} folds the rest",
        )
    swapped = {chosen: _swap(second) for chosen, second in seconds.items()} if swap else {}
    if json:
        show_json({"differences": shown, "counts": counts, "swapped": swapped})
    else:
        show_lines(f"{chosen}: {text}" for chosen, text in swapped.items())
    return Exit.NO if any(counts.values()) and not swap else Exit.OK


def _chosen(side: "ReadSide", name: str | None) -> "tuple[Group, ...]":
    models = tuple(group for group in side.groups if group.forwards is None)
    if name is None:
        return models
    group = side.group(name)
    if group is None:
        known = ", ".join(one.name for one in side.groups)
        raise CommandError(Exit.USAGE, f"{side.name} has no group {name!r}; there are {known}")
    if group not in models:
        raise CommandError(Exit.USAGE, f"{name} forwards events and has no read model; nothing of it can be compared")
    return (group,)


async def _sequence(broker: "Broker", since: str) -> int:
    """The sequence that `--from` names."""
    from shared.replay.read_model import sequence_at

    if since.isdecimal():
        return int(since)
    try:
        at = datetime.fromisoformat(since)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CommandError(
            Exit.USAGE, f"--from {since}: give a sequence of EVENTS, or a time such as 2026-11-28T09:00:00Z"
        )
    return await sequence_at(broker, at)


def _summary(name: str, differ: int, replay: "ReadModelReplay", second: "SqliteSecond") -> str:
    verdict = "nothing differs" if not differ else "1 row differs" if differ == 1 else f"{differ} rows differ"
    return f"{name}: {verdict}, up to event {replay.known.sequence}; the second database is {second.path}"


def _swap(second: "SqliteSecond") -> str:
    """Let the second database take over; says how that went."""
    is_of_this_code = second.is_of_this_code()
    waiting = second.take_over()
    if waiting is not None and not is_of_this_code:
        return f"{waiting.name} waits: the process that runs the group has other code; one with this code takes it"
    until = time.monotonic() + TAKEN_WITHIN_S
    while waiting is not None and waiting.exists():
        if time.monotonic() > until:
            return f"{waiting.name} waits: somebody reads the live one; its process takes it after that"
        time.sleep(POLL_S)
    return "the second database is the live one; the one before it has the ending .aside"
