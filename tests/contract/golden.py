"""The golden examples: `python -m tests.contract.golden` writes those that are missing or have grown, and breaks none.

It also writes docs/board.md, which `chorus flow --format markdown` makes from the code.
The form that an event had before it grew stays beside it as `<Event>.<n>.json`, because such events are in the streams.
An event whose form changed with a schema version has that version in the name: `<Event>.v2.json`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from shared import catalog
from shared.config.settings import Settings
from shared.context import Context, Member
from shared.flow.drawing.markdown import page
from shared.flow.graph import derive
from shared.flow.relations import relations
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import NEVER, OCCURRED_AT, SCHEMA_VERSION
from tests.contract.declared import contexts, read_sides
from tests.contract.examples import MOMENT, example

GOLDEN = Path(__file__).parent / "golden"
BOARD = Path(__file__).parents[2] / "docs/board.md"
COMMAND = "uv run python -m tests.contract.golden"


def published(declared: tuple[Context, ...]) -> Iterator[tuple[Member, type[Struct]]]:
    """Every context with every event that it publishes."""
    for context in declared:
        yield from ((context, event) for event in context.publishes)
        yield from ((context, event) for event in ENGINE_EVENTS)
    yield from ((side, event) for side in read_sides() for event in side.publishes)


def newest(context: Member, event: type[Struct]) -> Path:
    """Where the example of an event is."""
    since = max((upcaster.until + 1 for upcaster in context.upcasters if upcaster.is_of("", event)), default=1)
    return GOLDEN / context.name / f"{event.__name__}{f'.v{since}' if since > 1 else ''}.json"


def versions(context: str, event: str) -> list[Path]:
    """The example of an event, those of the times before it grew, and those of earlier versions."""
    return sorted((GOLDEN / context).glob(f"{event}.json")) + sorted((GOLDEN / context).glob(f"{event}.*.json"))


def headers_of(path: Path) -> dict[str, str]:
    """The headers that an event of this form had."""
    version = re.search(r"\.v([0-9]+)\.json$", path.name)
    return {SCHEMA_VERSION: version[1] if version else "1", OCCURRED_AT: MOMENT}


def said_again(path: Path, context: Member, event: type[Struct]) -> Any:
    """The example, read and written by the event as it is now."""
    decoder, body = context.decoder_of(event), path.read_bytes()
    return json.loads(msgspec.json.encode(decoder.decode(body, key="", at=NEVER, headers=headers_of(path))))


def keeps(now: Any, before: Any) -> bool:
    """Whether everything that was said before is still said, at any depth."""
    match before:
        case dict():
            return isinstance(now, dict) and all(name in now and keeps(now[name], before[name]) for name in before)
        case list():
            return isinstance(now, list) and len(now) == len(before) and all(map(keeps, now, before))
        case _:
            return bool(now == before)


def write(declared: tuple[Context, ...]) -> list[Path]:
    """Write the examples that are missing or have grown; raises AssertionError where an event would break its own."""
    written = []
    for context, event in published(declared):
        path = newest(context, event)
        if path.exists():
            before = json.loads(path.read_bytes())
            now = said_again(path, context, event)
            assert keeps(now, before), f"{path.name} says something else than before: give it a new name"
            if now == before:
                continue
            form, name = len(versions(context.name, event.__name__)), event.__name__
            path.rename(path.with_name(path.name.replace(name, f"{name}.{form}", 1)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(example(event), indent=2) + b"\n")
        written.append(path)
    return written


def board() -> str:
    """The text of docs/board.md as the code gives it."""
    flow = derive(catalog.contexts(Settings()))
    sagas = catalog.declared_in("sagas", "SAGAS") or ()
    related = relations(flow, read_sides(), catalog.directory(), catalog.place)
    return "\n".join(page(flow, sagas, tuple(related))) + "\n"


def write_board() -> list[Path]:
    """Write docs/board.md, unless it is current."""
    if BOARD.exists() and BOARD.read_text() == board():
        return []
    BOARD.write_text(board())
    return [BOARD]


if __name__ == "__main__":
    for path in (*write(contexts()), *write_board()):
        print(path.relative_to(Path.cwd()))
