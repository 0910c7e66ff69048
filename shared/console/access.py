"""Decides who may look and who may act: a person has a token, a cookie that follows from it, and a form token.

The cookie and the form token are keyed hashes of the token. So the server keeps no sessions, and a cookie that leaks
tells nobody the token. A role for which the settings name nobody has one token, which is new at every start.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from shared.config.secrets import Secret
from shared.config.settings import Settings, SettingsError

Role: TypeAlias = Literal["reader", "operator"]
"""A reader looks; an operator also retries and skips what is parked."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
TOKEN_BYTES: Final = 32
TOKEN_LENGTH_AT_LEAST: Final = 16
NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")


class Person(NamedTuple):
    """A user of the console. The name is recorded with each action, and empty for a role's own token."""

    name: str
    role: Role
    token: str

    def __repr__(self) -> str:
        return f"Person({self.name!r}, {self.role!r})"


class Access:
    """The people of one console. Every comparison takes the same time for all texts of one length."""

    def __init__(self, people: Sequence[Person] = ()) -> None:
        named = {person.role for person in people}
        fresh = (Person("", role, secrets.token_urlsafe(TOKEN_BYTES)) for role in ROLES if role not in named)
        self.people = (*people, *fresh)

    def of_role(self, role: Role) -> Person:
        """The first person of a role."""
        return next(person for person in self.people if person.role == role)

    def cookie(self, person: Person) -> str:
        """The value of the cookie that the browser of this person gets."""
        return _derived(person, "cookie")

    def form_token(self, person: Person) -> str:
        """The value that every form of a page of this person carries. Another site cannot read it."""
        return _derived(person, "form")

    def by_token(self, token: str) -> Person | None:
        """The person who logs in with this token."""
        return _match(token, [(person, person.token) for person in self.people])

    def by_cookie(self, cookie: str) -> Person | None:
        """The person whose browser sends this cookie."""
        return _match(cookie, [(person, self.cookie(person)) for person in self.people])

    def is_own_form(self, person: Person, form_token: str) -> bool:
        """Whether a form came from a page that this console gave to this person."""
        return _match(form_token, [(person, self.form_token(person))]) is not None


def people_in(settings: Settings) -> tuple[Person, ...]:
    """The people whom the settings name; raises SettingsError, which quotes no token."""
    people = (
        *_named("CHORUS_CONSOLE_READERS", settings.console_readers, "reader"),
        *_named("CHORUS_CONSOLE_OPERATORS", settings.console_operators, "operator"),
    )
    if len({person.token for person in people}) < len(people):
        raise SettingsError(("CHORUS_CONSOLE_READERS and CHORUS_CONSOLE_OPERATORS give two people the same token",))
    return people


def _named(variable: str, text: Secret, role: Role) -> Iterator[Person]:
    for number, part in enumerate(filter(None, str(text).split(",")), 1):
        name, _, token = part.partition("=")
        if NAME.fullmatch(name) is None:
            raise SettingsError((f"{variable}: part {number} names nobody: write name=token,name=token",))
        if len(token) < TOKEN_LENGTH_AT_LEAST:
            problem = f"the token of {name} is shorter than {TOKEN_LENGTH_AT_LEAST} characters"
            raise SettingsError((f"{variable}: {problem}",))
        yield Person(name, role, token)


def _derived(person: Person, purpose: str) -> str:
    return hmac.new(person.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _match(given: str, known: Sequence[tuple[Person, str]]) -> Person | None:
    found = [person for person, text in known if hmac.compare_digest(given.encode(), text.encode())]
    return found[0] if found else None
