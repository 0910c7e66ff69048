"""`chorus access`: the rights of each user, derived from the code, and their keys."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from shared.access.directory import Change
    from shared.access.rights import User

Out: TypeAlias = Annotated[
    Path | None, Parameter(name="--out", help="directory of the keys [CHORUS_ACCESS_DIR, else access in the data dir]")
]
Format = Literal["nats", "jwt", "contexts"]


def plan(*, out: Out = None, json: Json = False) -> int:
    """Show what `access apply` would change.

    Compares the directory of the keys with the users that the code of the contexts
    leads to. Exit 0 when nothing differs, else 1.

    For example:

        chorus access plan
        chorus access plan --out /etc/chorus/access --json
    """
    from shared.access.directory import plan as changes_of

    changes = changes_of(_directory(out), _users())
    _show_changes(changes, json=json)
    return Exit.NO if changes else Exit.OK


def apply(
    *,
    out: Out = None,
    rotate: Annotated[tuple[str, ...], Parameter(negative="", help="users that get a new key beside the old")] = (),
    retire: Annotated[tuple[str, ...], Parameter(negative="", help="users whose former keys end")] = (),
    json: Json = False,
) -> int:
    """Make keys for each user, and rights for the server.

    Each user has a seed file, USER.nk, which only its owner can read. The server
    gets rights.conf and users.conf, which hold public keys and permissions. To change
    a key: rotate, reload the server, restart the workers of the user, then retire.
    For a server with a resolver, export after the rotation; to retire revokes the
    former .creds file in resolver.conf.

    For example:

        chorus access apply --out /etc/chorus/access
        chorus access apply --rotate CONTEXT
        chorus access apply --retire CONTEXT
    """
    from shared.access.directory import apply as carry_out

    users = _users()
    for name in (*rotate, *retire):
        _one(users, name)
    if both := sorted({*rotate} & {*retire}):
        problem = f"{both[0]} cannot be rotated and retired at once: its workers need the former key until they restart"
        raise CommandError(Exit.USAGE, f"{problem}; rotate first, and retire later")
    _show_changes(carry_out(_directory(out), users, rotate=rotate, retire=retire), json=json)
    return Exit.OK


def show(user: Annotated[str | None, Parameter(help="all users unless given")] = None, /, *, json: Json = False) -> int:
    """Show who may say what, derived from the code.

    Lists the users with their purpose, or the subjects to which one user may publish
    and subscribe. Asks neither the server nor the directory of the keys.

    For example:

        chorus access show
        chorus access show producer
    """
    import msgspec

    users = _users()
    chosen = users if user is None else (_one(users, user),)
    if json:
        show_json([msgspec.to_builtins(one) for one in chosen])
    elif user is None:
        width = max(len(one.name) for one in users)
        show_lines(f"{one.name:{width}}  {one.purpose}" for one in users)
    else:
        show_lines(_described(chosen[0]))
    return Exit.OK


def export(
    *,
    format: Annotated[Format, Parameter(help="for a server, for a resolver, or for the nats CLI")] = "nats",
    out: Out = None,
    valid_for: Annotated[
        str | None,
        Parameter(name="--valid-for", help="how long the .creds files are taken, such as 90d; else for ever"),
    ] = None,
    server: Annotated[
        str, Parameter(name=("--server", "-s"), show_default=False, help="URL in the nats contexts [NATS_URL]")
    ] = "",
) -> int:
    """Write rights, JWTs or nats contexts for other tools.

    `nats` prints rights.conf, the permissions without keys. `jwt` writes an operator,
    an account and a .creds file for each user, for servers with a resolver. `contexts`
    saves a context of the nats CLI for each role, such as chorus-producer.

    For example:

        chorus access export > rights.conf
        chorus access export --format jwt --valid-for 90d
        chorus access export --format contexts --server nats://10.0.0.7:4222
        nats --context chorus-producer pub -J SUBJECT BODY
    """
    if valid_for is not None and format != "jwt":
        raise CommandError(Exit.USAGE, "--valid-for is about .creds files; add --format jwt")
    users, directory = _users(), _directory(out)
    match format:
        case "nats":
            from shared.access.server import rights_file

            print(rights_file(users), end="")
        case "jwt":
            from shared.access.export import write_jwts

            lasting = None if valid_for is None else _lasting(valid_for)
            show_lines(f"wrote {file}" for file in write_jwts(directory, users, valid_for=lasting))
        case "contexts":
            from shared.access.export import write_contexts
            from shared.config.connection import find_connection

            url = server or ",".join(find_connection(os.environ).servers)
            for name, file in write_contexts(directory, users, url, os.environ):
                show_lines([f"wrote {file}: {shlex.join(['nats', '--context', name, 'rtt'])}"])
    return Exit.OK


def _lasting(text: str) -> "timedelta":
    from shared.config.units import parse_duration

    try:
        lasting = parse_duration(text)
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"--valid-for: {error}") from error
    if lasting.total_seconds() < 1:
        raise CommandError(Exit.USAGE, "--valid-for: the files would be expired at once; give at least 1s")
    return lasting


def _users() -> "tuple[User, ...]":
    from shared.access.of_system import users_here

    return users_here(os.environ)


def _one(users: "Sequence[User]", name: str) -> "User":
    from shared.config.spelling import did_you_mean

    names = [user.name for user in users]
    if name not in names:
        raise CommandError(
            Exit.USAGE, f"there is no user {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}"
        )
    return users[names.index(name)]


def _directory(out: Path | None) -> Path:
    from shared.config.environment import load_settings

    return out if out is not None else load_settings(os.environ, all_declared=False).seeds


def _show_changes(changes: "Sequence[Change]", *, json: bool) -> None:
    import msgspec

    if json:
        show_json([msgspec.to_builtins(change) for change in changes])
    else:
        show_lines([f"{one.action} {one.name}: {one.text}" for one in changes] or ["nothing to do"])


def _described(user: "User") -> list[str]:
    rights = user.rights
    lines = [f"{user.name}: {user.purpose}", "publishes to"]
    lines += [f"  {subject}" for subject in rights.publish] or ["  nothing"]
    if rights.never:
        lines += ["but never to", *(f"  {subject}" for subject in rights.never)]
    lines += ["subscribes to", *(f"  {subject}" for subject in rights.subscribe)]
    return [*lines, "answers each request that it gets"] if rights.answers else lines
