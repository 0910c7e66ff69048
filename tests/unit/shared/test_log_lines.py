"""Every log line about a message names its saga and the message, under the same two names everywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
LEVELS = ("debug", "info", "warning", "error", "exception")
FACTS_OF_A_MESSAGE = ("saga", "message")
OTHER_NAMES = ("id", "message_id", "event_id", "correlation", "correlation_id", "order", "order_id")


def logged(source: str) -> Iterator[tuple[int, str, set[str]]]:
    """Every call of a logger in a module: its line, the event, and the names of its facts."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        by_level = isinstance(function, ast.Attribute) and function.attr in LEVELS
        if (by_level and ast.unparse(function).startswith("_log.")) or ast.unparse(function) == "log":
            names = {keyword.arg for keyword in node.keywords if keyword.arg}
            if any(keyword.arg is None and "ids" in ast.unparse(keyword.value) for keyword in node.keywords):
                names |= {*FACTS_OF_A_MESSAGE}
            yield node.lineno, ast.unparse(node.args[0]), names


def test_lines_about_a_message_name_its_saga_and_itself() -> None:
    modules = sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("contexts/**/*.py")])
    lines = [
        (f"{m.relative_to(ROOT)}:{line}", event, names) for m in modules for line, event, names in logged(m.read_text())
    ]
    assert len(lines) > 40
    for place, event, names in lines:
        assert names.isdisjoint(OTHER_NAMES), f"{place}: call the ids saga and message"
        assert len(names.intersection(FACTS_OF_A_MESSAGE)) in (0, 2), f"{place}: {event} has one of saga and message"
    about_messages = {event.strip("'\"") for _, event, names in lines if {*FACTS_OF_A_MESSAGE} <= names}
    assert about_messages >= {
        "a stranger's message is set aside",
        "decided",
        "known id, other content",
        "outcome cannot be decided",
        "outcome unknown",
        "parked",
        "parked again",
        "publish unanswered, sent again",
        "published under its next edition",
        "rejected",
        "request failed",
        "skipped",
        "unparked",
    }
