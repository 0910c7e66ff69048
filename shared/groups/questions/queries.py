"""Answers the queries of a group from its tables, beside the writer: `api.<context>.<Query>`.

Each answer says `as_of` which sequence of EVENTS it knows. A query with `at_least` waits for the group to know it, so a
client that has seen the sequence of its own event reads its own write.

A query that names an actor is answered from what belongs to that actor (`owned.py`). `api.<context>.any.<Query>` takes
queries without an actor, also where the group requires one; the rights of users keep it for operators and testers.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import structlog

from shared.context import Answer, Endpoints, Request
from shared.groups.questions.owned import NotTheirsError, OwnedView
from shared.groups.read.progress import Progress
from shared.ports.clock import moment
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.ports.views import Known, ViewReader, ViewStore
from shared.readside.group import ANY, Group
from shared.readside.views import Asked, Query, UnknownRowError
from shared.wire.bodies import MalformedBodyError, check_size
from shared.wire.messages import ACTING_FOR, check_actor

WAITING_AT_MOST: Final = 500
"""Half as many as a service answers at once, so that queries that wait keep no other query from its answer."""

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("chorus.queries")


class _AsOf(msgspec.Struct, frozen=True):
    """The sequence of EVENTS that an answer knows, and the time at which the last event in it was stored."""

    sequence: int
    at: Any


def _as_of(known: Known, up_to: int) -> _AsOf:
    return _AsOf(max(known.sequence, up_to), moment(known.at_ns) if known.at_ns else None)


class Queries:
    """The queries of one group."""

    def __init__(self, context: str, group: Group, store: ViewStore, progress: Progress) -> None:
        self._store = store
        self._progress = progress
        self._tables = {table.name: table for table in group.all_tables}
        unnamed = "" if group.requires_actor else None
        self.endpoints: Endpoints = {
            subject: _answering(query, self._answer, actor)
            for query in group.queries
            for subject, actor in (
                (f"api.{context}.{query.name}", unnamed),
                (f"api.{context}.{ANY}.{query.name}", None),
            )
        }

    async def _answer(self, query: Query, asked: Asked, actor: str | None) -> Answer:
        waits = self._progress.up_to < asked.at_least
        if waits and self._progress.awaited >= WAITING_AT_MOST:
            return _problem(503, "busy", f"{WAITING_AT_MOST} queries wait for EVENTS already; ask again")
        if waits and not await self._wait_for(asked.at_least, asked.within_s):
            behind = f"EVENTS is known up to {self._progress.up_to}, not to {asked.at_least}; ask again"
            return _problem(504, "not yet", behind, as_of=_as_of(self._progress.known, self._progress.up_to))
        up_to = self._progress.up_to  # Before the snapshot, which then has at least this.

        def work(view: ViewReader) -> tuple[Any, Known]:
            visible = view if actor is None else OwnedView(view, self._tables, actor)
            try:
                return query.answer(asked, visible), view.known()
            except (UnknownRowError, NotTheirsError) as error:
                return error, view.known()

        try:
            found, known = await self._store.read_aside(work)
            as_of = _as_of(known, up_to)
            if isinstance(found, UnknownRowError):
                return _problem(404, "not found", str(found), as_of=as_of)
            if isinstance(found, NotTheirsError):
                return _problem(403, found.reason, str(found), as_of=as_of)
            return Answer(_encoder.encode({**found, "as_of": as_of}))
        except (DatabaseBusyError, DatabaseError) as error:
            return _problem(503, "unreadable", f"the database cannot be read: {error}")
        except Exception as error:  # A query is the code of a context; a client without an answer waits in vain.
            _log.exception("query failed", query=query.name)
            return _problem(500, "failed", f"{query.name} failed: {type(error).__name__}: {error}")

    async def _wait_for(self, sequence: int, within_s: float) -> bool:
        """Wait, at most this long, until EVENTS is known up to this sequence."""
        with self._progress.waiting(), anyio.move_on_after(within_s):
            while self._progress.up_to < sequence:
                await self._progress.next_move()
        return self._progress.up_to >= sequence


def _answering(
    query: Query, answer: Callable[[Query, Any, str | None], Awaitable[Answer]], unnamed: str | None
) -> Callable[[Request], Awaitable[Answer | None]]:
    """`unnamed` is the actor of a request that names none; None sees everything."""
    return partial(_read_and_answer, query, msgspec.json.Decoder(query.request), answer, unnamed)


async def _read_and_answer(
    query: Query,
    decoder: msgspec.json.Decoder[Any],
    answer: Callable[[Query, Any, str | None], Awaitable[Answer]],
    unnamed: str | None,
    request: Request,
) -> Answer:
    named = request.headers.get(ACTING_FOR)
    try:
        actor = unnamed if named is None else check_actor(named)
    except ValueError as error:
        return _problem(400, "malformed", f"{ACTING_FOR}: {error}")
    try:
        check_size(request.body)
        asked = decoder.decode(request.body or b"{}")
    except MalformedBodyError as error:
        return _problem(400, "malformed", error.problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _problem(400, "malformed", f"{error}; {query.name} has the fields {_fields(query)}")
    return await answer(query, asked, actor)


def _fields(query: Query) -> str:
    return ", ".join(field.encode_name for field in msgspec.structs.fields(query.request))


def _problem(status: int, title: str, detail: str, **more: Any) -> Answer:
    """A refusal as RFC 9457 problem details."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Answer(_encoder.encode(body), error=(str(status), f"{title}: {detail}"[:200].replace("\n", " ")))
