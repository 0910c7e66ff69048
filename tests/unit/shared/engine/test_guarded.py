"""A handler that raises does not leave its client without an answer."""

from structlog.testing import capture_logs

from shared.context import Answer, Request
from shared.engine.guarded import guarded

REQUEST = Request(headers={}, body=b"{}")


async def right(request: Request) -> Answer | None:
    return Answer(body=request.body)


async def wrong(request: Request) -> Answer | None:
    raise KeyError(request.body)


async def test_client_of_a_handler_that_raises_gets_an_error_and_the_log_has_the_traceback() -> None:
    endpoints = guarded({"api.till.right": right, "api.till.wrong": wrong})
    assert await endpoints["api.till.right"](REQUEST) == Answer(body=b"{}")
    with capture_logs() as lines:
        answered = await endpoints["api.till.wrong"](REQUEST)
    assert answered == Answer(error=("500", "KeyError in the code of api.till.wrong; the worker's log says more"))
    (line,) = lines
    assert (line["event"], line["subject"], line["exc_info"]) == ("request failed", "api.till.wrong", True)
