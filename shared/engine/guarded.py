"""Answers a request whose handler raises: the client reads an error at once, and the log has the traceback."""

from collections.abc import Awaitable, Callable

import structlog

from shared.endpoint import Answer, Endpoints, Request

_log = structlog.get_logger("chorus.requests")


def guarded(endpoints: Endpoints) -> Endpoints:
    """The same endpoints, which answer with the error 500 where a handler raises."""
    return {subject: _guarded(subject, handle) for subject, handle in endpoints.items()}


def _guarded(
    subject: str, handle: Callable[[Request], Awaitable[Answer | None]]
) -> Callable[[Request], Awaitable[Answer | None]]:
    async def answer(request: Request) -> Answer | None:
        try:
            return await handle(request)
        except Exception as error:  # The broker's adapter runs each request in a task that nobody awaits.
            _log.exception("request failed", subject=subject)
            return Answer(error=("500", f"{type(error).__name__} in the code of {subject}; the worker's log says more"))

    return answer
