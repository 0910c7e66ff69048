"""Configures log lines: JSON for programs, coloured text on a terminal."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure(
    level: str, form: Literal["auto", "json", "console"], *, context: str, errors: TextIO | None = None
) -> None:
    """Set up structlog for this process. Every line names the context and goes to `errors`, or to standard error."""
    errors = errors or sys.stderr
    as_json = form == "json" or (form == "auto" and not errors.isatty())
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            _named(context),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=errors),
        cache_logger_on_first_use=True,
    )


def _named(context: str) -> Processor:
    """Names the context in every line. A context variable would miss the lines of the database's thread."""

    def name(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        return {"context": context, **line}

    return name
