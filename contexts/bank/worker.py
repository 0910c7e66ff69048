"""The bank as one value."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from contexts.bank.commands import OPERATIONS
from contexts.bank.effects import SCHEMA, SCHEMA_VERSION, Counter
from contexts.bank.settings import BankSettings
from shared.adapters.sqlite.database import Database
from shared.context import Answer, Endpoints, Request, Service
from shared.wire.bodies import BodyDecoder


@asynccontextmanager
async def open_bank(directory: Path, *, slow_s: float) -> AsyncIterator[Endpoints]:
    """The bank's endpoints over the books in `directory`."""
    books = await Database.open(directory / "bank.db", schema=SCHEMA, version=SCHEMA_VERSION)
    counter = Counter(books, slow_s)
    endpoints: dict[str, Callable[[Request], Awaitable[Answer | None]]] = {"svc.bank.lookup": counter.look_up}
    for operation, request_type in OPERATIONS.items():
        decoder = BodyDecoder(request_type, strict=True)
        endpoints[f"svc.bank.{operation}"] = partial(counter.answer, operation, decoder)
    try:
        yield endpoints
    finally:
        await counter.close()
        await books.close()


def service(settings: BankSettings) -> Service:
    """The bank, as slow as the settings say where a token asks for it."""
    return Service(
        name="bank",
        version="1.0.0",
        description="A bank, simulated: holds, takes, lets go and gives back, once per Idempotency-Key.",
        open=partial(open_bank, slow_s=settings.bank_slow.total_seconds()),
    )
