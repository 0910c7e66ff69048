"""`chorus audit`: finds the events that no journal has."""

import os
from typing import TYPE_CHECKING, Final

from shared.cli.adapters import databases, outboxes
from shared.cli.errors import complain
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.repair.audit import Unproven

SHOWN_AT_MOST: Final = 100
FOUND: Final = {
    "absent": "is in no journal",
    "other_content": "differs from the journal",
    "no_context": "names no context of this system",
}


def audit(*, json: Json = False, connection: Connection = HERE) -> int:
    """Find the events that no journal has.

    A journal proves the events of its context. The command reads EVENTS once and
    compares it with the databases on this machine (CHORUS_DATA_DIR); it changes
    nothing. Exit 1 when an event is not proven, or a database is elsewhere. An event
    that an operator has declared a stranger's (parked void) does not count.

    For example:

        chorus audit
        chorus audit --json
    """
    import anyio
    import msgspec

    from shared import catalog
    from shared.repair.audit import Audit
    from shared.repair.audit import audit as compare
    from shared.streams.file import read_topology

    settings = catalog.read_settings(os.environ)
    sides = catalog.load_all(settings).read_sides
    contexts = [name for name in catalog.names() if name not in sides]
    partitions = read_topology(settings.streams_file).partitions

    async def run() -> Audit:
        async with connection.connected("audit") as broker:
            with outboxes(settings, sides) as proving:
                return await compare(broker, databases(settings), contexts, partitions, proving)

    found = anyio.run(run)
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        show_lines(_lines(found.unproven))
        show_lines([f"{found.events} events compared with their journals, {len(found.unproven)} not proven"])
    if found.unread:
        complain(f"not compared, because their databases are not here: {', '.join(found.unread)}")
    return Exit.OK if found.is_clean else Exit.NO


def _lines(unproven: "tuple[Unproven, ...]") -> list[str]:
    lines = [
        f"EVENTS {one.sequence}  {one.at}  {one.subject}  {one.message_id}: {FOUND[one.finding]}"
        + (f"; {one.reason}" if one.reason else "")
        + ("; declared a stranger's" if one.declared else "")
        for one in unproven[:SHOWN_AT_MOST]
    ]
    return lines + ([f"and {len(unproven) - SHOWN_AT_MOST} more: see --json"] if len(unproven) > SHOWN_AT_MOST else [])
