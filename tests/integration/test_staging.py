"""A server of our own stages atomic batches in RAM, and on its disk where it cannot."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerRefusedError, Outgoing
from shared.run.server import LocalServer, local_server
from shared.run.staging import RAM_DISK, SPACE_AT_LEAST, delete_staging, stage_in_ram, staging_of

STREAM = b'{"name":"NOTES","subjects":["notes.*"],"storage":"file","num_replicas":1,"allow_atomic":true}'
BATCH = [Outgoing(f"notes.{number}", {}, b"{}") for number in range(3)]

needs_ram = pytest.mark.skipif(
    not RAM_DISK.is_dir() or shutil.disk_usage(RAM_DISK).free < SPACE_AT_LEAST,
    reason=f"{RAM_DISK} is missing or has less than {SPACE_AT_LEAST // 2**20} MiB",
)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of a server; what it stages is deleted at the end, also after a kill."""
    directory = tmp_path / "nats"
    directory.mkdir()
    yield directory
    delete_staging(directory)


@asynccontextmanager
async def connected(server: LocalServer) -> AsyncIterator[JetStream]:
    broker = await connect(ConnectionOptions(servers=(server.url,)), name="test")
    try:
        yield broker
    finally:
        await broker.close()


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """The directory of a stream of the server in `tmp_path`, which is stopped."""
    stream = tmp_path / "jetstream" / "$G" / "streams" / "NOTES"
    stream.mkdir(parents=True)
    (stream / "meta.inf").touch()
    return stream


@pytest.fixture
def ram_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ram")


def batches_of(directory: Path) -> Path:
    (stream,) = directory.glob("jetstream/*/streams/NOTES")
    return stream / "batches"


def linked_into(batches: Path) -> Path:
    return batches.readlink().parent


@needs_ram
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
    assert not batches_of(directory).is_symlink()


@needs_ram
async def test_batch_that_cannot_be_staged_is_refused_until_its_directory_is_back(directory: Path) -> None:
    """The relay then publishes its rows singly. systemd may delete the directory when a user logs out."""
    async with local_server(directory) as server, connected(server) as broker:
        await broker.api("$JS.API.STREAM.CREATE.NOTES", STREAM)
        await stage_in_ram(directory)
        batches_of(directory).readlink().rmdir()
        with pytest.raises(BrokerRefusedError, match="atomic publish batch is incomplete"):
            await broker.publish_batch(BATCH)
        assert (await broker.stream_info("NOTES")).last_sequence == 0
        assert await stage_in_ram(directory) == 1
        assert await broker.publish_batch(BATCH) == 3


@pytest.mark.parametrize("taken", ["open to others", "link to a private directory", "file"])
async def test_batches_stay_on_the_disk_where_the_name_in_ram_is_taken(
    tmp_path: Path, stream: Path, ram_disk: Path, taken: str
) -> None:
    name = staging_of(tmp_path, ram_disk)
    if taken == "open to others":
        name.mkdir()
        name.chmod(0o755)
    elif taken == "file":
        name.touch()
    else:
        (ram_disk / "elsewhere").mkdir(mode=0o700)
        name.symlink_to(ram_disk / "elsewhere")
    assert await stage_in_ram(tmp_path, ram_disk) == 0
    assert not (stream / "batches").is_symlink()


async def test_batches_stay_on_the_disk_without_a_ram_disk(tmp_path: Path, stream: Path) -> None:
    assert await stage_in_ram(tmp_path, tmp_path / "none") == 0
    assert not (stream / "batches").is_symlink()


async def test_batch_under_way_on_the_disk_is_waited_for(tmp_path: Path, stream: Path, ram_disk: Path) -> None:
    batch = stream / "batches" / "under-way"
    batch.mkdir(parents=True)

    async def end_it() -> None:
        await anyio.wait_all_tasks_blocked()
        assert batch.parent.is_dir()
        batch.rmdir()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end_it)
        assert await stage_in_ram(tmp_path, ram_disk) == 1
    assert batch.parent.is_symlink()
