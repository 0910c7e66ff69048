"""The machinery says no word of the shop, nor of any other system that runs on it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORDS = (
    "apple", "article", "bank", "buy", "buyer", "cancellation", "card", "carrier", "cart", "cents", "currency",
    "customer", "email", "eur", "gateway", "inventory", "invoice", "letter", "mail", "merchant", "money",
    "notification", "order", "ordering", "parcel", "payment", "pear", "price", "product", "purchase", "receipt",
    "refund", "shelf", "shelve", "shipment", "shipped", "shipping", "shop", "sku", "smtp", "stock", "tracking", "vat",
    "voucher", "warehouse",
)  # fmt: skip
"""Words of the shop in the singular."""

ELSEWHERE = {
    "order": (
        r"(?i)\border by\b",  # SQL.
        r"(?i)\bin (?:(?:the|its|their|another|stream|journal|good|alphabet's|file|one|that) )*order\b",  # Sequence.
        r"\b(?:the|their|its) order (?:of|in which|per key)\b",
        r"\b(?:another|same|following) order\b",
        r"\b(?:their|reading|journal's|keeps its) order\b",
    ),
    "letter": (r"(?i)\bdead[ _-]?letters?\b", r"dead_letter\w*", r"\ba letter, then letters\b"),
}
"""Where such a word means something else: an order is also a sequence, a dead letter is no mail."""

FILES = {
    "shared/adapters/memory/stream.py": {"order"},  # What the headers of a message order the server to do.
    "shared/adapters/memory/scheduling.py": {"order"},
    "shared/engine/decide/outgoing.py": {"letter"},  # A dead letter.
}
"""Modules in which a word has its other meaning throughout, each with its reason."""


MACHINERY = sorted(path for suffix in ("py", "tmpl") for path in ROOT.glob(f"shared/**/*.{suffix}"))
"""Its modules, and the templates of new systems and contexts."""


def words_of(text: str) -> set[str]:
    """The words of names and sentences in lower case and in the singular; `PlaceOrder` and `order_id` are two each."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def found_in(path: Path) -> list[str]:
    """Every line of a module that has a word of the shop."""
    name = str(path.relative_to(ROOT))
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        said = line
        for patterns in ELSEWHERE.values():
            for pattern in patterns:
                said = re.sub(pattern, "", said)
        if words := words_of(said) & {*WORDS} - FILES.get(name, set()):
            found.append(f"{name}:{number}: {', '.join(sorted(words))}: {line.strip()[:100]}")
    return found


def test_the_machinery_says_no_word_of_the_shop() -> None:
    found = [line for path in MACHINERY for line in found_in(path)]
    assert found == [], "say it in words that fit every system; it belongs into contexts/ if that cannot be"


@pytest.mark.parametrize("line", ["order_id = 1", "def place_order()", "PlaceOrder", "# For each sku.", "its orders"])
def test_a_word_of_the_shop_is_noticed(line: str) -> None:
    assert words_of(line) & {*WORDS}
