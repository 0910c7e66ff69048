"""The console compares the broker with the code as `chorus streams plan` does: streams, consumers and schemas."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from shared import catalog
from shared.adapters.jetstream import JetStream, connect
from shared.cli.commands.console import differing
from shared.config.connection import find_connection
from shared.config.settings import Settings
from shared.run.system import declared
from shared.schemas.bucket import write
from shared.schemas.files import files_of
from shared.streams.apply import apply


@pytest_asyncio.fixture
async def broker(account_url: str) -> AsyncIterator[JetStream]:
    broker = await connect(find_connection({"NATS_URL": account_url}), name="test")
    yield broker
    await broker.close()


async def test_schemas_that_differ_are_named_until_they_are_written(broker: JetStream, tmp_path: Path) -> None:
    settings: Settings = catalog.settings_with({"data_dir": tmp_path})
    differences = differing(settings)
    missing = await differences(broker)
    assert any("SCHEMAS" in line for line in missing)
    assert not [line for line in missing if line.startswith("write to the bucket")]

    await apply(broker.api, declared(settings))
    (line,) = await differences(broker)
    assert line.startswith("write to the bucket SCHEMAS: ")
    assert await differences(broker) == [line]

    files = files_of(catalog.members(settings).values(), title=settings.contexts)
    await write(broker, files)
    assert await differences(broker) == []

    first = min(files)
    await write(broker, {**files, first: b"{}"})
    (line,) = await differences(broker)
    assert first.removesuffix(".json").replace("/", ".") in line
