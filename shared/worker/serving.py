"""Answers the requests to a service for as long as its database can be used.

A database that is busy is an alarm until a request succeeds. One that cannot be used any more, for example because its
file was replaced, ends the process, as it ends the process of a context.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

import anyio

from shared.context import Answer, Endpoints, Request
from shared.engine.monitor.alarms import Alarms
from shared.ports.store import DatabaseBusyError, DatabaseError


class Serving:
    """The `endpoints` of a service whose database is the file named `database`."""

    def __init__(self, endpoints: Endpoints, alarms: Alarms, *, database: str) -> None:
        self.endpoints: Endpoints = {subject: partial(self._answer, handle) for subject, handle in endpoints.items()}
        self._alarms = alarms
        self._database = database
        self._lost = anyio.Event()
        self._error: DatabaseError | None = None

    async def lost(self) -> NoReturn:
        """Wait until the database cannot be used any more.

        Raises:
            DatabaseError: what happened to it, and the remedy.
        """
        await self._lost.wait()
        assert self._error is not None
        raise self._error

    async def _answer(self, handle: Callable[[Request], Awaitable[Answer | None]], request: Request) -> Answer | None:
        try:
            answer = await handle(request)
        except DatabaseBusyError as error:
            remedy = "free space on its disk, or end the process that keeps it locked; the service goes on by itself"
            self._alarms.raise_("database", self._database, reason=str(error), remedy=remedy)
            return _try_again(error)
        except DatabaseError as error:
            self._error = error
            self._lost.set()
            return _try_again(error)
        self._alarms.clear("database", self._database)
        return answer


def _try_again(error: Exception) -> Answer:
    return Answer(error=("503", f"try again, with the same key if there is one: {error}"))
