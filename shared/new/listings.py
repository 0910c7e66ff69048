"""Enters a new context into the files beside the package that list every context, as far as a repository has them.

Each function takes the text of such a file and returns it with the context entered. Where the file has no such list it
returns the text as it is, and the repository's own checks tell what is missing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from shared.new.heard import Heard
from shared.new.names import Names


class Entered(NamedTuple):
    """A new context, as lists tell of it. `existing` are the contexts that are already there."""

    names: Names
    key: str
    heard: tuple[Heard, ...]
    existing: tuple[str, ...]
    folder: str


Listings = Mapping[str, tuple[Callable[[str, "Entered"], str], ...]]


def listed_in(directory: Path, entered: Entered, listings: Listings) -> Iterator[tuple[Path, str]]:
    """Yield each file that changes, with its new text."""
    for name, steps in listings.items():
        file = directory / name
        if file.is_file():
            before = text = file.read_bytes().decode()
            for enter in steps:
                text = enter(text, entered)
            if text != before:
                yield file, text


def services(text: str, entered: Entered) -> str:
    """Copy the last service that runs another context, and its volume."""
    blocks = re.findall(r"^  ([a-z0-9]+):\n(?:    .*\n)+", text, re.MULTILINE)
    other = next((name for name in reversed(blocks) if name in entered.existing), None)
    if other is None or entered.names.context in blocks:
        return text

    def copied(found: re.Match[str]) -> str:
        return found[0] + re.sub(rf"\b{other}\b", entered.names.context, found[0])

    text = re.sub(rf"^\n  {other}:\n(?:    .*\n)+", copied, text, count=1, flags=re.MULTILINE)
    return re.sub(rf"^  {other}-data:.*\n", copied, text, count=1, flags=re.MULTILINE)


def canvas_link(text: str, entered: Entered) -> str:
    """Link the canvas before the last one that is linked."""
    links = [*re.finditer(rf"\[\w+\]\({re.escape(entered.folder)}/\w+/README\.md\)", text)]
    if not links:
        return text
    name, last = entered.names.context, links[-1].start()
    return f"{text[:last]}[{name}]({entered.folder}/{name}/README.md) ·\n{text[last:]}"


def units(text: str, entered: Entered) -> str:
    """Enter the context where units are enabled."""
    name = entered.names.context
    return re.sub(r"(systemctl enable --now (?:chorus-worker@\w+[ \\\n]*)*chorus-worker@\w+)\n",
                  rf"\1 \\\n    chorus-worker@{name}\n", text, count=1)  # fmt: skip


def readers(text: str, entered: Entered) -> str:
    """Enter the context into the table of who reacts to what."""
    for one in entered.heard:
        known = re.search(rf"^\| `{one.event}` \| {one.source} \| .+(?= \|$)", text, re.MULTILINE)
        if known:
            text = f"{text[: known.end()]}, {entered.names.context}{text[known.end() :]}"
        else:
            row = f"| `{one.event}` | {one.source} | {entered.names.context} |"
            text = with_row(text, "Who reacts to what", "what is said", row)
    return text


def language(text: str, entered: Entered) -> str:
    """Enter the aggregate, the commands and the events, and the context as a reader of what it hears."""
    names = entered.names
    camel, name, key = names.camel, names.context, entered.key
    promise = (
        f"{names.a_or_an.capitalize()} {names.aggregate} is reserved at most once, and never after it was given back."
    )
    rows = [f"| {name} | supporting | `{names.aggregate}` | {promise} | RESERVED, RELEASED |"]
    text = with_row(text, "Contexts", "context", rows[0])
    for command, event in zip(names.commands, names.events, strict=True):
        text = with_row(text, "Commands", "command", f"| `{name}.{command}` | `{key}` |  | `{event}` |")
    for source, heard in groupby(entered.heard, key=lambda one: one.source):
        for one in heard:
            text = _with_reader(text, source, one.event, name)
    table = "\n".join(
        (
            "| event | key | fields | read by | what it says |",
            "|---|---|---|---|---|",
            f"| `{camel}Reserved` | `{key}` |  |  | The {names.aggregate} is reserved. |",
            f"| `{camel}Released` | `{key}` |  |  | It was given back, and is never reserved again. |",
        )
    )
    return re.sub(r"(^## Events\n.*?)(?=^## |\Z)", rf"\1### {name}\n\n{table}\n\n", text, count=1, flags=re.M | re.S)


def subdomains(text: str, entered: Entered) -> str:
    """Enter the context among the supporting subdomains, until its builder knows better."""
    place = f"`{entered.folder}/{entered.names.context}`"
    return re.sub(r"(^\| supporting subdomain \|.*`) \|$", rf"\1, {place} |", text, count=1, flags=re.MULTILINE)


def with_row(text: str, heading: str, first: str, row: str) -> str:
    """Add a row to the table that stands under a heading and whose first column bears this title."""
    table = re.search(
        rf"^#+ {re.escape(heading)}\n(?:(?!^#).*\n)*?\| {re.escape(first)} \|.*\n(?:\|.*(?:\n|\Z))+", text, re.MULTILINE
    )
    if table is None:
        return text
    return f"{text[: table.end()]}{row}\n{text[table.end() :]}"


def _with_reader(text: str, source: str, event: str, reader: str) -> str:
    """Add a reader to the row of an event: the fourth column of the table of its context lists them."""
    row = re.search(
        rf"^### {source}\n(?:(?!^#).*\n)*?\| `{event}` \|(?:[^|\n]*\|){{2}}(?P<readers>[^|\n]*)\|", text, re.MULTILINE
    )
    if row is None:
        return text
    readers = ", ".join(sorted({*filter(None, row["readers"].strip().split(", ")), reader}))
    return f"{text[: row.start('readers')]} {readers} {text[row.end('readers') :]}"


OF_READ_SIDES: Final[dict[str, tuple[Callable[[str, Entered], str], ...]]] = {
    "docker-compose.yml": (services,),
    "README.md": (canvas_link,),
    "docs/operate.md": (units,),
}
"""The lists that tell of a read side as of a context."""

LISTINGS: Final[dict[str, tuple[Callable[[str, Entered], str], ...]]] = {
    "docker-compose.yml": (services,),
    "README.md": (canvas_link,),
    "docs/domain.md": (language,),
    "docs/patterns.md": (subdomains,),
    "docs/operate.md": (units,),
    "docs/tutorial.md": (readers,),
}
