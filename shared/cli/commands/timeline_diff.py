"""`chorus timeline --diff`: shows where two sagas part."""

from typing import TYPE_CHECKING, Any

from shared.cli.errors import CommandError
from shared.cli.flags import Connection
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.timeline.comparison import Comparison, Side
    from shared.inspect.timeline.tree import Message


def show_diff(connection: Connection, left: str, right: str, *, as_json: bool) -> int:
    """Show the messages of both sagas side by side; exit 1 when one of them has a message that the other lacks."""
    import os

    import anyio

    from shared import catalog
    from shared.inspect.timeline.comparison import compare, draw
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.inspect.timeline.tree import read_saga

    async def read() -> "tuple[list[Message], list[Message]]":
        async with connection.connected("timeline") as broker:
            return await read_saga(broker, left), await read_saga(broker, right)

    members = catalog.load_all(catalog.read_settings(os.environ)).members
    told_fields = ToldFields(members.values())
    found = anyio.run(read)
    for key, messages in zip((left, right), found, strict=True):
        if not messages:
            raise CommandError(Exit.USAGE, f"no event has the key {key!r}; check the key and the server")
    comparison = compare(*found, told_fields)
    if as_json:
        show_json(diff_as_json(comparison))
    else:
        show(draw(comparison, left, right))
        show_lines([comparison.parting or "both have the same messages"])
    return Exit.NO if comparison.parting else Exit.OK


def diff_as_json(comparison: "Comparison") -> dict[str, Any]:
    """The pairs of messages by time; the side that lacks one is null."""

    def side(one: "Side | None") -> dict[str, Any] | None:
        return (
            None
            if one is None
            else {"id": one.message.id, "after_ms": one.after.total_seconds() * 1000, "told": one.told}
        )

    return {
        "parting": comparison.parting or None,
        "messages": [{"event": p.event, "left": side(p.left), "right": side(p.right)} for p in comparison.pairs],
    }
