"""Every log line about a message names its saga and the message, under the same two names everywhere."""

import ast
import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from shared.config import log

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


class Terminal(io.StringIO):
    """Standard error that a person reads."""

    def isatty(self) -> bool:
        return True


def lines_of(form: str, errors: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """One line from another thread, such as the one of the database."""
    monkeypatch.setattr(sys, "stderr", errors)
    try:
        log.configure("debug", form, context="payments")  # type: ignore[arg-type]
        logger = structlog.get_logger()
        thread = threading.Thread(target=lambda: logger.debug("decided", saga="o-42", message="ordering/order-o-42@1"))
        thread.start()
        thread.join()
    finally:
        structlog.reset_defaults()
    return errors.getvalue()


def test_a_program_reads_json_that_names_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.loads(lines_of("auto", io.StringIO(), monkeypatch))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "context": "payments",
        "event": "decided",
        "level": "debug",
        "saga": "o-42",
        "message": "ordering/order-o-42@1",
    }


def test_a_person_at_a_terminal_reads_text(monkeypatch: pytest.MonkeyPatch) -> None:
    said = re.sub(r"\x1b\[[0-9;]*m", "", lines_of("auto", Terminal(), monkeypatch))
    assert re.sub(" +", " ", said).split(" ", 1)[1] == (
        "[debug ] decided context=payments message=ordering/order-o-42@1 saga=o-42\n"
    )


def test_a_terminal_gets_json_where_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(lines_of("json", Terminal(), monkeypatch))["event"] == "decided"
