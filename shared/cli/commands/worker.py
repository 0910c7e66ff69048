"""`chorus worker`: runs one process of one context until SIGTERM."""

import os
from typing import Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection
from shared.config.exit_codes import Exit


def worker(
    name: Annotated[str, Parameter(name="CONTEXT", help="a folder of the package of contexts")],
    /,
    *,
    partitions: Annotated[str | None, Parameter(help="own only these, such as 0,1")] = None,
    group: Annotated[str | None, Parameter(help="of a read side: run only this group")] = None,
    connection: Connection = HERE,
) -> int:
    """Run one worker of one context.

    On SIGTERM it takes no new work, finishes and publishes its batch, and exits 0
    within 10 s. Several workers of one context share its partitions; when one dies,
    another takes over within 2 s. Logs go to standard error.

    For example:

        chorus worker CONTEXT
        chorus worker CONTEXT --partitions 0,1
        chorus worker CONTEXT --group GROUP
    """
    import anyio

    from shared import catalog

    catalog.check_known(name)
    settings = catalog.read_settings(os.environ)
    options = connection.options(name)
    numbers = _numbers(partitions)

    from shared.worker.main import run_worker

    async def run() -> int:
        return await run_worker(name, settings=settings, connection=options, partitions=numbers, group=group)

    return anyio.run(run, backend_options={"use_uvloop": os.name == "posix"})


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    numbers = text.split(",")
    if not all(number.isdecimal() and len(number) <= 4 for number in numbers):
        raise CommandError(Exit.USAGE, f"--partitions {text!r} is not a list of numbers; write it like 0,1")
    return tuple(sorted({int(number) for number in numbers}))
