"""The golden examples: `python -m tests.contract.golden` writes those that are missing or have grown, and breaks none.

It also writes docs/board.md, which `chorus flow --format markdown` makes from the code.
The form that an event had before it grew stays beside it as `<Event>.<n>.json`, because such events are in the streams.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from shared import catalog
from shared.config.settings import Settings
from shared.context import Context
from shared.flow.graph import derive
from shared.flow.markdown import page
from shared.flow.relations import relations
from shared.wire.engine_events import ENGINE_EVENTS
from tests.contract.declared import contexts
from tests.contract.examples import example

GOLDEN = Path(__file__).parent / "golden"
BOARD = Path(__file__).parents[2] / "docs/board.md"
COMMAND = "uv run python -m tests.contract.golden"


def published(declared: tuple[Context, ...]) -> Iterator[tuple[str, type[Struct]]]:
    """Every context with every event that it publishes."""
    for context in declared:
        yield from ((context.name, event) for event in context.publishes)
        yield from ((context.name, event) for event in ENGINE_EVENTS)


def newest(context: str, event: type[Struct]) -> Path:
    """Where the example of an event is."""
    return GOLDEN / context / f"{event.__name__}.json"


def versions(context: str, event: str) -> list[Path]:
    """The example of an event and those of the times before it grew."""
    return sorted([*(GOLDEN / context).glob(f"{event}.json"), *(GOLDEN / context).glob(f"{event}.[0-9]*.json")])


def said_again(body: bytes, event: type[Struct]) -> Any:
    """The example, read and written by the event as it is now."""
    return json.loads(msgspec.json.encode(msgspec.json.decode(body, type=event)))


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
            now = said_again(path.read_bytes(), event)
            assert keeps(now, before), f"{context}.{event.__name__} says something else than before: give it a new name"
            if now == before:
                continue
            path.rename(path.with_suffix(f".{len(versions(context, event.__name__))}.json"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(example(event), indent=2) + b"\n")
        written.append(path)
    return written


def board() -> str:
    """The text of docs/board.md as the code gives it."""
    flow = derive(catalog.contexts(Settings()))
    sagas = catalog.declared_in("sagas", "SAGAS") or ()
    return "\n".join(page(flow, sagas, tuple(relations(flow, catalog.place)))) + "\n"


def write_board() -> list[Path]:
    """Write docs/board.md, unless it is current."""
    if BOARD.exists() and BOARD.read_text() == board():
        return []
    BOARD.write_text(board())
    return [BOARD]


if __name__ == "__main__":
    for path in (*write(contexts()), *write_board()):
        print(path.relative_to(Path.cwd()))
