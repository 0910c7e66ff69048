"""Writes the rights of users as configuration of a nats-server: public keys and permissions, and no secret. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from shared.access.rights import RESPONSE_WITHIN, RESPONSES_AT_MOST, Rights, User

PublicKeys: TypeAlias = Mapping[str, Sequence[str]]
"""The public keys of each user, the newest first; during a rotation a user has two."""

_RIGHTS_HEAD = """\
# Derived from the code of the contexts: chorus access export > rights.conf
# The names are variables of the server's configuration, which users.conf uses beside the public keys.
"""
_USERS_HEAD = """\
# Written by chorus access apply: public keys, and the permissions of rights.conf. After a change reload the server:
# nats-server --signal reload
include rights.conf
"""


def authorization(users: Sequence[User], keys: PublicKeys) -> dict[str, Any]:
    """The block `authorization` of a server whose whole configuration is one JSON document."""
    return {
        "users": [
            {"nkey": key, "permissions": permissions(user.rights)} for user in users for key in keys.get(user.name, ())
        ]
    }


def permissions(rights: Rights) -> dict[str, Any]:
    """The permissions of one user in the server's words."""
    publish: dict[str, Any] = {"allow": list(rights.publish)} if rights.publish else {"deny": [">"]}
    if rights.never:
        publish["deny"] = list(rights.never)
    found: dict[str, Any] = {"publish": publish, "subscribe": {"allow": list(rights.subscribe)}}
    if rights.answers:
        found["allow_responses"] = {"max": RESPONSES_AT_MOST, "expires": RESPONSE_WITHIN}
    return found


def rights_file(users: Sequence[User]) -> str:
    """The text of rights.conf: the permissions of each user as a variable."""
    return _RIGHTS_HEAD + "".join(_variable(user) for user in users)


def users_file(users: Sequence[User], keys: PublicKeys) -> str:
    """The text of users.conf: who may log in, by public key."""
    lines = [
        f'    {{ nkey: "{key}", permissions: ${_name(user)} }} # {user.name}\n'
        for user in users
        for key in keys.get(user.name, ())
    ]
    return f"{_USERS_HEAD}authorization {{\n  users: [\n{''.join(lines)}  ]\n}}\n"


def _variable(user: User) -> str:
    lines = [f"\n# {user.purpose}\n{_name(user)}: {{\n"]
    for action, lists in permissions(user.rights).items():
        if action == "allow_responses":
            lines.append(f'  {action}: {{ max: {lists["max"]}, expires: "{lists["expires"]}" }}\n')
            continue
        lines.append(f"  {action}: {{\n")
        for effect, patterns in lists.items():
            listed = "".join(f"      {json.dumps(pattern)},\n" for pattern in patterns)
            lines.append(f"    {effect}: [\n{listed}    ]\n")
        lines.append("  }\n")
    return "".join([*lines, "}\n"])


def _name(user: User) -> str:
    """The variable of a user; the prefix keeps `operator` apart from the server's own key of this name."""
    return f"RIGHTS_{user.name}"
