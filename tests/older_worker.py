"""`python -m tests.older_worker shipping [PARTITIONS]` is a worker of the first release, from `tests/older.py`."""

import os
import sys
from functools import partial

import anyio

from shared import catalog
from shared.cli.flags import HERE
from shared.worker.main import run_member
from tests import older


def main(name: str, partitions: str = "") -> int:
    settings = catalog.read_settings(os.environ)
    run = partial(
        run_member,
        name,
        lambda: getattr(older, name)(settings),
        settings=settings,
        connection=HERE.options(name),
        partitions=tuple(map(int, partitions.split(","))) if partitions else None,
    )
    return anyio.run(run, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
