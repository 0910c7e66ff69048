"""Lists sagas with their status, and with the reasons why each does not go on.

The context that publishes a saga's first event knows the status; every context knows what waits in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shared.context import Aggregate, Context
from shared.inspect.asking import NoAnswerError, ask
from shared.inspect.patience import LISTED_WITHIN_S, Patience
from shared.inspect.why.evidence import UNANSWERED_AT_MOST
from shared.ports.broker import Broker
from shared.saga import Saga
from shared.wire.listing import PAGE_AT_MOST, AggregateList, AskList, Listed
from shared.wire.waiting import AskWaiting, Waiting, WaitingItem

WAITING_AT_MOST: Final = 20_000
"""At most this many items of one context are read; with more, the context itself is in trouble."""
UNPUBLISHED_AT_MOST: Final = timedelta(seconds=10)


class Selection(Struct, frozen=True, kw_only=True):
    """The sagas that are wanted. `older_than` counts from the first event."""

    status: str = ""
    fields: Mapping[str, str] = {}
    older_than: timedelta | None = None
    is_open: bool = False
    stuck: bool = False
    oldest_first: bool = False
    after: int = 0
    limit: int = 50


class SagaNow(Struct, frozen=True, kw_only=True):
    """One saga. `held_up_by` says, a line for each, what waits in which context."""

    key: str
    status: str
    began_at: str
    last_event: str
    last_at: str
    held_up_by: tuple[str, ...]


class Listing(Struct, frozen=True, kw_only=True):
    """The sagas that were found. `counts` by status are those of all sagas; `silent` contexts did not answer."""

    sagas: tuple[SagaNow, ...]
    counts: Mapping[str, int]
    next: int
    silent: tuple[str, ...]


def leading(saga: Saga, contexts: Iterable[Context]) -> tuple[Context, Aggregate]:
    """The context and the aggregate that publish the first event of a saga."""
    source, _, event = saga.first[0].partition(".")
    context = next(one for one in contexts if one.name == source)
    return context, next(
        aggregate for aggregate in context.aggregates if event in {kind.__name__ for kind in aggregate.events}
    )


def field_names(aggregate: Aggregate) -> set[str]:
    """The names of all fields in the state of an aggregate, at any depth."""
    found: set[str] = set()
    ahead: list[msgspec.inspect.Type] = [msgspec.inspect.type_info(aggregate.state)]
    while ahead:
        kind = ahead.pop()
        if isinstance(kind, msgspec.inspect.StructType) and kind.fields:
            found |= {field.encode_name for field in kind.fields}
            ahead += [field.type for field in kind.fields]
        elif isinstance(kind, msgspec.inspect.UnionType):
            ahead += kind.types
        elif isinstance(kind, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            ahead.append(kind.item_type)
    return found


async def list_sagas(
    broker: Broker,
    saga: Saga,
    contexts: Sequence[Context],
    selection: Selection,
    now: datetime,
    *,
    patience: Patience | None = None,
) -> Listing:
    """Ask all contexts; raises NoAnswerError when the leading one does not answer."""
    context, aggregate = leading(saga, contexts)
    patience = patience or Patience()  # The leading context is asked after the others, and may be silent again.
    waiting, silent = await _waiting(broker, contexts, patience)
    held_up = _held_up(waiting, now)
    question = _question(saga, context, aggregate, selection, now)
    if not selection.stuck:
        page = await ask(
            broker, context.name, "list", question, AggregateList, patience=patience, within_s=LISTED_WITHIN_S
        )
        return Listing(sagas=_sagas(page.items, held_up), counts=page.counts, next=page.next, silent=silent)
    found: list[Listed] = []
    keys = tuple(held_up)
    for begin in range(0, len(keys), PAGE_AT_MOST):
        of_keys = replace(question, keys=keys[begin : begin + PAGE_AT_MOST], counted=False, after=0, limit=PAGE_AT_MOST)
        found += (
            await ask(broker, context.name, "list", of_keys, AggregateList, patience=patience, within_s=LISTED_WITHIN_S)
        ).items
    began_before = min(filter(None, (question.before, (now - saga.slow_after).isoformat())))
    slow = replace(question, unless=_ends(saga, context), before=began_before, oldest_first=True, after=0)
    page = await ask(broker, context.name, "list", slow, AggregateList, patience=patience, within_s=LISTED_WITHIN_S)
    chosen = {one.key: one for one in (*found, *page.items)}
    ranked = sorted(chosen.values(), key=lambda one: one.began_at, reverse=not selection.oldest_first)
    return Listing(sagas=_sagas(ranked[: selection.limit], held_up), counts=page.counts, next=0, silent=silent)


def _question(saga: Saga, context: Context, aggregate: Aggregate, selection: Selection, now: datetime) -> AskList:
    return AskList(
        aggregate=aggregate.name,
        status=selection.status,
        fields=selection.fields,
        unless=_ends(saga, context) if selection.is_open else (),
        before="" if selection.older_than is None else (now - selection.older_than).isoformat(),
        oldest_first=selection.oldest_first,
        counted=True,
        after=selection.after,
        limit=selection.limit,
    )


def _ends(saga: Saga, context: Context) -> tuple[str, ...]:
    """The events of this context that end the saga."""
    names = {
        event.partition(".")[2] for end in saga.ends for event in end.events if event.startswith(f"{context.name}.")
    }
    return tuple(sorted(names))


async def _waiting(
    broker: Broker, contexts: Sequence[Context], patience: Patience
) -> tuple[list[Waiting], tuple[str, ...]]:
    pages: list[Waiting] = []
    silent: list[str] = []

    async def read(context: str) -> None:
        await patience.ping_unless_silent(broker, context)
        try:
            question = AskWaiting(limit=PAGE_AT_MOST)
            first = await ask(
                broker, context, "waiting", question, Waiting, patience=patience, within_s=LISTED_WITHIN_S
            )
            pages.append(first)
            for kind, number in first.next.items():
                after: int | None = number
                read_so_far = PAGE_AT_MOST
                while after and read_so_far < WAITING_AT_MOST:
                    question = AskWaiting(kind=kind, after=after, limit=PAGE_AT_MOST)
                    page = await ask(
                        broker, context, "waiting", question, Waiting, patience=patience, within_s=LISTED_WITHIN_S
                    )
                    pages.append(page)
                    after = page.next.get(kind)
                    read_so_far += PAGE_AT_MOST
        except NoAnswerError:
            silent.append(context)

    async with anyio.create_task_group() as tasks:
        for context in contexts:
            tasks.start_soon(read, context.name)
    return pages, tuple(sorted(silent))


def _held_up(pages: Iterable[Waiting], now: datetime) -> dict[str, list[str]]:
    """By key, the reasons why its saga does not go on. A young first call is none of them."""
    found: dict[str, list[str]] = {}
    for page in pages:
        for item in page.items:
            if text := _trouble(page.context, item, now):
                found.setdefault(item.key, []).append(text)
    return found


def _trouble(context: str, item: WaitingItem, now: datetime) -> str:
    text = (item.text.strip().splitlines() or [""])[-1]
    age = now - datetime.fromisoformat(item.since) if item.since else timedelta(0)
    match item.kind:
        case "call" if text:
            return f"{context} has asked {item.attempts} times because of {item.type}: {text}"
        case "call" if age > UNANSWERED_AT_MOST:
            return f"{context} has had no answer to {item.type} for {age.total_seconds():.0f} s"
        case "parked" if text:
            return f"{context} parked {item.type}: {text}"
        case "refused":
            return f"{context} cannot publish {item.type}: {text}"
        case "unpublished" if age > UNPUBLISHED_AT_MOST:
            return f"{context} has not published {item.type} yet"
    return ""


def _sagas(listed: Iterable[Listed], held_up: Mapping[str, Sequence[str]]) -> tuple[SagaNow, ...]:
    return tuple(
        SagaNow(
            key=one.key,
            status=one.status,
            began_at=one.began_at,
            last_event=one.last_event,
            last_at=one.last_at,
            held_up_by=tuple(held_up.get(one.key, ())),
        )
        for one in listed
    )
