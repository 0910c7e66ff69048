"""Waits until sagas have ended, and asserts everything about how they did."""

from collections.abc import Sequence

import anyio

from shared.wire.messages import CAUSATION_DEPTH, split_edition
from tests.e2e.shop import Shop, token_of
from tests.ledger import Ledger
from tests.sagas import Ending
from tests.waiting import WITHIN_S
from tests.watching import Fact


class Ended:
    """The sagas that have ended, each with its ending; nothing more may ever be published about them."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._sagas: dict[str, tuple[Ending, str, bool]] = {}

    async def check(self, order: str, *endings: Ending, token: str = "tok_ok", holds_money: bool = False) -> Ending:
        """Wait until an order has one of these endings, and assert all of it; returns the ending it has.

        `holds_money` is for an order that waits with its money on hold.
        """
        shop = self._shop
        with anyio.move_on_after(WITHIN_S):
            await shop.watcher.until_true(lambda: any(ending.is_reached(shop.facts(order)) for ending in endings))
        ending = min(endings, key=lambda ending: ending.missing(shop.facts(order)).total())
        self._sagas[order] = (ending, token, holds_money)
        self._assert_kept(order, shop.books())
        return ending

    def check_again(self) -> None:
        """Assert that every saga still has the ending it had."""
        assert self._sagas
        books = self._shop.books()
        for order in self._sagas:
            self._assert_kept(order, books)

    def _assert_kept(self, order: str, books: Ledger) -> None:
        shop, (ending, token, holds_money) = self._shop, self._sagas[order]
        said = shop.facts(order)
        assert ending.is_kept(said), "\n".join(
            [
                f"{order} ended otherwise:",
                *(f"  missing  {fact} x{times}" for fact, times in ending.missing(said).items()),
                *(f"  too much {fact} x{times}" for fact, times in ending.unexpected(said).items()),
                *said,
            ]
        )
        assert ending.is_in_order(said), "\n".join([f"{order} ended in another order:", *said])
        assert_caused(shop.watcher.about(order))
        assert shop.mails(order) == sorted(ending.mails)
        assert books.reasons(f"pay-{order}") == list(ending.money)
        assert (books.held_minor(token_of(order, token)) > 0) is holds_money


def assert_caused(facts: Sequence[Fact]) -> None:
    """Assert that every fact comes after its cause, one step deeper.

    The facts that follow a client's command or a timer begin again, at depth 1.
    """
    depths: dict[str, int] = {}
    for fact in facts:
        depths[fact.id] = int(fact.headers[CAUSATION_DEPTH])
        depths[split_edition(fact.id)[0]] = depths[fact.id]  # A context names its own events without their edition.
        assert depths[fact.id] == depths.get(fact.cause, 0) + 1, f"{fact.id} comes before its cause {fact.cause}"
