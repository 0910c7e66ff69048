"""The pages of the console. Each says where it is, its template, and how its content is read."""

from typing import Final

from shared.console.pages import overview, saga, sagas
from shared.console.pages.page import Action, Page

PAGES: Final[tuple[Page, ...]] = (overview.PAGE, sagas.PAGE, saga.PAGE, saga.MESSAGE)
ACTIONS: Final[tuple[Action, ...]] = ()
