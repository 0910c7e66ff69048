"""Renders the templates. Everything is escaped that is not a template of this package."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from html import escape
from itertools import pairwise
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.text import Text

from shared.config.units import span
from shared.flow.drawing.live import rate
from shared.wire.messages import is_event_id

STYLES = frozenset({"dim", "bold", "red", "yellow", "green"})
"""The styles of terminal text, which are classes of the style sheet too."""


@cache
def environment() -> Environment:
    """The templates, read once."""
    env = Environment(
        loader=PackageLoader("shared.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "span": span,
        "seconds": seconds,
        "marked": marked,
        "pretty": pretty,
        "moment": moment,
        "age": age,
        "identifier": identifier,
        "rate": rate,
    }
    env.tests |= {"event_id": is_event_id}
    return env


def render(template: str, values: Mapping[str, Any]) -> Markup:
    """One template as text that needs no further escaping."""
    return Markup(environment().get_template(template).render(values))  # noqa: S704 - The templates escape.


def marked(text: Text) -> Markup:
    """A line for a terminal as HTML: the same words with the same marks."""
    plain = text.plain
    ends = sorted({0, len(plain), *(place for one in text.spans for place in (one.start, one.end))})
    parts = []
    for begin, end in pairwise(ends):
        said = escape(plain[begin:end])
        words = {word for one in text.spans if one.start <= begin and end <= one.end for word in str(one.style).split()}
        styles = " ".join(sorted(words & STYLES))
        parts.append(f'<span class="{styles}">{said}</span>' if styles else said)
    return Markup("".join(parts))  # noqa: S704 - Escaped above.


def pretty(body: bytes | str) -> str:
    """JSON with indentation; anything else as it is, with its bytes spelled out where they are no text."""
    raw = body if isinstance(body, bytes) else body.encode()
    try:
        return msgspec.json.format(raw, indent=2).decode()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return raw.decode(errors="backslashreplace")


def seconds(value: float | None) -> str:
    """A measurement in seconds as people read it; nothing for None."""
    return "" if value is None else span(timedelta(seconds=value))


def moment(at: datetime | str) -> str:
    """A time in UTC, to the second."""
    found = datetime.fromisoformat(at) if isinstance(at, str) and at else at
    return f"{found:%Y-%m-%d %H:%M:%S}" if isinstance(found, datetime) else "-"


def age(since: str, now: datetime) -> str:
    """The time since a moment in RFC 3339."""
    return span(now - datetime.fromisoformat(since)) if since else "-"


def identifier(text: str) -> str:
    """A text as the id of an element, so that the focus stays on it when its part of the page is loaded again."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)
