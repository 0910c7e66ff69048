"""Declares a page as one value, and the errors that a page may answer with."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.requests import Request

from shared.console.console import Console

Values: TypeAlias = Mapping[str, Any]
Content: TypeAlias = Callable[[Console, Request], Awaitable[Values]]


class BadInputError(Exception):
    """The address has something that cannot be; the text says what, and what can."""


class NothingThereError(Exception):
    """There is no such thing; the text names what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page. A `live` one is an empty frame that loads its content at once, and again after news.

    `menu` is its name in the menu, empty for a page that only others lead to. `head` is a template above the content
    that is not loaded again, such as a form, with the values that it needs. With `keyed`, news are those of the saga
    in the path.
    """

    path: str
    template: str
    content: Content
    menu: str = ""
    live: bool = True
    head: str = ""
    head_values: Callable[[Console, Request], Values] | None = None
    keyed: bool = False
    title: Callable[[Request], str] | None = None

    def title_of(self, request: Request) -> str:
        """The title of the page, which is also its heading."""
        return self.menu if self.title is None else self.title(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that an operator does with a form. `carry_out` gets its fields and returns the values of `template`."""

    path: str
    title: str
    template: str
    carry_out: Callable[[Console, Request, Mapping[str, str]], Awaitable[Values]]
