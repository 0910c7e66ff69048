"""Log lines are JSON for programs and text for people, and name the context also from another thread."""

import io
import json
import re
import threading
from typing import Literal

import structlog

from shared.config import log


class Terminal(io.StringIO):
    """Standard error that a person reads."""

    def isatty(self) -> bool:
        return True


def lines_of(form: Literal["auto", "json"], errors: io.StringIO) -> str:
    """One line from another thread, such as the one of the database."""
    try:
        log.configure("debug", form, context="payments", errors=errors)
        logger = structlog.get_logger()
        thread = threading.Thread(target=lambda: logger.debug("decided", saga="o-42", message="ordering/order-o-42@1"))
        thread.start()
        thread.join()
    finally:
        structlog.reset_defaults()
    return errors.getvalue()


def test_a_program_reads_json_that_names_the_context() -> None:
    line = json.loads(lines_of("auto", io.StringIO()))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "context": "payments",
        "event": "decided",
        "level": "debug",
        "saga": "o-42",
        "message": "ordering/order-o-42@1",
    }


def test_a_person_at_a_terminal_reads_text() -> None:
    said = re.sub(r"\x1b\[[0-9;]*m", "", lines_of("auto", Terminal()))
    assert re.sub(" +", " ", said).split(" ", 1)[1] == (
        "[debug ] decided context=payments message=ordering/order-o-42@1 saga=o-42\n"
    )


def test_a_terminal_gets_json_where_that_is_set() -> None:
    assert json.loads(lines_of("json", Terminal()))["event"] == "decided"
