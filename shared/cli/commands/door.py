"""`chorus door`: answers HTTP requests until SIGTERM, with a producer's rights."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, PRODUCER, Connection
from shared.config.exit_codes import Exit
from shared.config.release import release

if TYPE_CHECKING:
    from shared.http.door import Door


def door(
    *,
    host: Annotated[str, Parameter(help="the address to answer on")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="0 takes a free one")] = 8080,
    connection: Connection = HERE,
) -> int:
    """Answer HTTP requests with commands.

    The paths are those of DOOR in door.py beside the contexts. It publishes each request
    once under its Idempotency-Key, and answers with the PubAck; /openapi.json
    describes them. It needs the extra chorus[http], and a proxy in front for TLS.

    For example:

        chorus door
        chorus door --port 8443 --context chorus-producer
    """
    import anyio

    return anyio.run(_serve, _declared(), host, port, connection)


def _declared() -> "Door":
    from shared import catalog
    from shared.config.settings import contexts_package

    declared: Door | None = catalog.declared_in("door", "DOOR")
    if declared is None:
        raise CommandError(
            Exit.NO, f"{contexts_package()} has no door.py: declare DOOR there, a Door of shared/http/door.py"
        )
    return declared


async def _serve(declared: "Door", host: str, port: int, connection: Connection) -> int:
    try:
        from shared.http.app import DoorApp
        from shared.http.serving import serve
    except ModuleNotFoundError as error:
        raise CommandError(Exit.MISCONFIGURED, f"{error.name} is not installed; install chorus[http]") from error
    from shared import catalog
    from shared.http.secrets import secrets_in

    settings = catalog.read_settings(os.environ)
    secrets = secrets_in(settings.webhook_secrets, [path.sender for path in declared.webhooks])
    async with connection.connected("door", PRODUCER) as broker:
        made = DoorApp(
            declared,
            broker,
            version=release(),
            per_s=settings.door_rate,
            secrets=secrets,
            trusts_actor=settings.door_trusts_actor,
        )
        try:
            await serve(made.asgi, host, port, lambda url: print(f"the door is open on {url}", flush=True))
        except OSError as error:
            raise CommandError(Exit.MISCONFIGURED, f"{host}:{port}: {error.strerror}; choose another --port") from error
    return Exit.OK
