"""A server of our own stages atomic batches in RAM, and on its disk where it cannot."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerRefusedError, Outgoing
from shared.run.server import LocalServer, local_server
from shared.run.staging import delete_staging, stage_in_ram, staging_of

STREAM = b'{"name":"NOTES","subjects":["notes.*"],"storage":"file","num_replicas":1,"allow_atomic":true}'
BATCH = [Outgoing(f"notes.{number}", {}, b"{}") for number in range(3)]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of a server; what it stages is deleted at the end, also after a kill."""
    yield tmp_path / "nats"
    delete_staging(tmp_path / "nats")


@asynccontextmanager
async def connected(server: LocalServer) -> AsyncIterator[JetStream]:
    broker = await connect(ConnectionOptions(servers=(server.url,)), name="test")
    try:
        yield broker
    finally:
        await broker.close()


def batches_of(directory: Path) -> Path:
    (stream,) = directory.glob("jetstream/*/streams/NOTES")
    return stream / "batches"


def linked_into(batches: Path) -> Path:
    return batches.readlink().parent


async def test_batches_are_staged_in_ram_after_each_start_until_the_server_is_stopped(directory: Path) -> None:
    staging = staging_of(directory)
    async with local_server(directory) as server, connected(server) as broker:
        await broker.api("$JS.API.STREAM.CREATE.NOTES", STREAM)
        assert await stage_in_ram(directory) == 1
        assert linked_into(batches_of(directory)) == staging
        assert await broker.publish_batch(BATCH) == 3
        await server.kill()
    assert staging.is_dir()  # The next server may have to complete a batch from there.
    async with local_server(directory) as again, connected(again) as broker:
        assert linked_into(batches_of(directory)) == staging
        assert await broker.publish_batch(BATCH) == 6
        assert [*batches_of(directory).iterdir()] == []
    assert not staging.exists()


async def test_batch_that_finds_no_room_in_ram_is_refused_and_nothing_of_it_is_stored(directory: Path) -> None:
    """The relay then publishes its rows singly."""
    async with local_server(directory) as server, connected(server) as broker:
        await broker.api("$JS.API.STREAM.CREATE.NOTES", STREAM)
        await stage_in_ram(directory)
        batches_of(directory).readlink().rmdir()
        with pytest.raises(BrokerRefusedError, match="atomic publish batch is incomplete"):
            await broker.publish_batch(BATCH)
        assert (await broker.stream_info("NOTES")).last_sequence == 0


@pytest.mark.parametrize("mode", [0o755, None])
async def test_batches_stay_on_the_disk_where_no_private_directory_is_to_be_had(
    tmp_path: Path, mode: int | None
) -> None:
    ram_disk = tmp_path / "ram"
    if mode is not None:
        staging_of(tmp_path, ram_disk).mkdir(mode, parents=True)
    stream = tmp_path / "jetstream" / "$G" / "streams" / "NOTES"
    stream.mkdir(parents=True)
    assert await stage_in_ram(tmp_path, ram_disk) == 0
    assert [*stream.iterdir()] == []


async def test_batch_under_way_on_the_disk_is_waited_for(tmp_path: Path) -> None:
    ram_disk = tmp_path / "ram"
    ram_disk.mkdir()
    batch = tmp_path / "jetstream" / "$G" / "streams" / "NOTES" / "batches" / "under-way"
    batch.mkdir(parents=True)

    async def end_it() -> None:
        await anyio.wait_all_tasks_blocked()
        assert batch.parent.is_dir()
        batch.rmdir()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_it)
        assert await stage_in_ram(tmp_path, ram_disk) == 1
    assert batch.parent.is_symlink()
