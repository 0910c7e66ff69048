"""The limits of the shop in docs/domain.md are those of the code."""

from contexts.inventory.backorder import BACKORDERS_AT_MOST
from contexts.ordering.changes import REQUESTS_AT_MOST
from contexts.ordering.price import FORMER_PRICES_AT_MOST
from contexts.ordering.returns import RETURNS_AT_MOST
from contexts.ordering.shelf import BASKETS_AT_MOST, PLENTY
from tests.architecture.pages import DOCS


def test_limits_of_the_shop_are_those_of_the_code() -> None:
    said = [number for _, number, *_ in DOCS["domain"].rows("Limits", "limit")]
    limits = (BASKETS_AT_MOST, FORMER_PRICES_AT_MOST, BACKORDERS_AT_MOST, RETURNS_AT_MOST, REQUESTS_AT_MOST)
    assert said == [f"{limit:,}" for limit in limits]
    assert f"A level of {PLENTY:,} available units" in DOCS["domain"].section("Limits")
