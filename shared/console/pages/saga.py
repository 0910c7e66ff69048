"""One saga: why it waits, its tree of causes, its Gantt chart and its lanes; and one message with body and headers."""

from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import BadInputError, NothingThereError, Page, Values
from shared.derived.topology import STREAMS
from shared.export.gantt import bars
from shared.export.rows import rows_of
from shared.export.svg import lanes
from shared.inspect.timeline.drawing import line
from shared.inspect.timeline.tree import nats_words, steps
from shared.inspect.why.causes import TROUBLES
from shared.inspect.why.lines import facts, sentences
from shared.wire.about import About
from shared.wire.messages import MalformedKeyError, check_key

STEPS_AT_MOST = 500
"""A saga with more messages is shown up to here; `chorus timeline` shows all."""


async def content(console: Console, request: Request) -> Values:
    """Read the saga once for all views of it; raises BadInputError."""
    key, sources = key_of(request), console.sources
    reader = sources.reader
    reading = await reader.read(sources.broker, key, patience=sources.patience)
    explanation = reader.explain(reading.evidence)
    found = list(steps(reading.roots))
    rows = rows_of(reading.roots, reader.told_fields)[:STEPS_AT_MOST]
    return {
        "key": key,
        "sentences": sentences(explanation),
        "standings": explanation.standings,
        "is_trouble": any(cause.kind in TROUBLES for cause in explanation.causes),
        "facts": facts(reading.evidence),
        "aggregates": {
            name: [one.id for one in answer.aggregates]
            for name, answer in reading.evidence.answers.items()
            if isinstance(answer, About)
        },
        "steps": [(step, line(step, reading.annotations, reader.told_fields)) for step in found[:STEPS_AT_MOST]],
        "left_out": max(0, len(found) - STEPS_AT_MOST),
        "bars": bars(rows),
        "lanes": lanes(rows, f"chorus timeline {key}") if rows else "",
        "commands": (
            f"chorus why {key}",
            f"chorus timeline {key} --follow",
            *(sources.nats(*words) for words in nats_words(key)),
        ),
    }


async def message(console: Console, request: Request) -> Values:
    """One stored message, whole; raises NothingThereError when the stream has none there."""
    stream, sequence = request.path_params["stream"], request.path_params["sequence"]
    if stream not in STREAMS:
        raise NothingThereError(f"there is no stream {stream!r}; there are {', '.join(STREAMS)}")
    stored = await console.sources.broker.get(stream, sequence)
    if stored is None:
        raise NothingThereError(
            f"{stream} has no message at {sequence} any more. A command leaves its stream when it is decided;"
            " a parked one stands under Parked"
        )
    return {
        "stream": stream,
        "stored": stored,
        "commands": (console.sources.nats("stream", "get", stream, str(sequence)),),
    }


def key_of(request: Request) -> str:
    """The key in the path; raises BadInputError."""
    try:
        return check_key(request.path_params["key"])
    except MalformedKeyError as error:
        raise BadInputError(str(error)) from error


PAGE = Page(
    path="/saga/{key}",
    template="saga.html",
    content=content,
    head="message_panel.html",
    keyed=True,
    title=lambda request: str(request.path_params["key"]),
)
MESSAGE = Page(
    path="/message/{stream}/{sequence:int}",
    template="message.html",
    content=message,
    live=False,
    title=lambda request: "{stream} #{sequence}".format(**request.path_params),
)
