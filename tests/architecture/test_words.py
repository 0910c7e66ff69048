"""Prose is plain: the machinery says no word of any system that runs on it, and sentences have a noun as subject.

So none begins with what, who, so many or somebody.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
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
    "shared/adapters/memory/stream.py": {"order"},  # Headers of a message order the server to act.
    "shared/engine/decide/outgoing.py": {"letter"},  # A dead letter.
}
"""Modules in which a word has its other meaning throughout, each with its reason."""


MACHINERY = sorted(
    path
    for suffix in ("py", "tmpl", "html", "css", "js")
    for path in ROOT.glob(f"shared/**/*.{suffix}")
    if not path.name.endswith(".min.js")
)
"""Its modules, the templates of new systems and contexts, and the pages of the console; not the scripts of others."""


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


def test_every_exception_is_for_a_module_that_exists() -> None:
    assert [name for name in FILES if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("line", ["order_id = 1", "def place_order()", "PlaceOrder", "# For each sku.", "its orders"])
def test_a_word_of_the_shop_is_noticed(line: str) -> None:
    assert words_of(line) & {*WORDS}


NOMINAL = re.compile(
    r'''(?:\A|"""|[.:;!?]\s+|\|\s*|\n\n\s*|\n\s*[-*] )'''
    r"(?:(?:What|Who|Whom|Whose)(?:ever)?|So many|So long|In whose|For whom|Somebody)\b[^.:;!?]*+(?!\?)"
)
"""A sentence whose subject is no noun but a clause that begins with what or who, so many, somebody; a question may."""

MAY_BE_NOMINAL = re.compile(r"\b(?:What|Who|So many|So long|In whose|For whom|Somebody)")


def prose_of(module: str) -> Iterator[tuple[int, str]]:
    """The docstrings of a module, those of its constants too, and its comments, each with its line."""
    for node in ast.walk(ast.parse(module)):
        match node:
            case ast.Expr(value=ast.Constant(str(text))):
                yield node.lineno, text
    for token in tokenize.generate_tokens(io.StringIO(module).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#: ")


def nominal_in(path: Path) -> list[str]:
    """Every text of a module or of a page with such a sentence."""
    text = path.read_text()
    if not MAY_BE_NOMINAL.search(text):  # Parsing every module takes seconds.
        return []
    texts = list(prose_of(text)) if path.suffix == ".py" else [(1, text)]
    return [
        f"{path.relative_to(ROOT)}:{line}: {' '.join(found.group().split())[:100]}"
        for line, said in texts
        for found in NOMINAL.finditer(said)
    ]


def test_no_sentence_begins_with_what_or_who_or_so_many() -> None:
    modules = [path for folder in ("contexts", "shared", "tests") for path in ROOT.glob(f"{folder}/**/*.py")]
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("contexts/*/README.md"),
        *ROOT.glob("shared/**/*.tmpl"),
    ]
    found = [line for path in sorted([*modules, *pages]) for line in nominal_in(path)]
    assert found == [], "begin with the verb or with the thing that is named"


@pytest.mark.parametrize(
    "prose",
    [
        "What the bank says.",
        "The answer. Whatever came is written down.",
        "So many events are read at once.",
        "The name. In whose name a message is sent.",
        "Pure: no I/O.\n\n    Who hears whom.",
        "| a | What is kept |",
        '```python\n"""What it tells the world."""',
    ],
)
def test_a_sentence_about_a_what_or_a_who_is_noticed(prose: str) -> None:
    assert NOMINAL.search(prose)


@pytest.mark.parametrize("prose", ["Who owns the partition?", "It keeps what it read.", "## What is promised"])
def test_a_question_and_a_heading_may_begin_so(prose: str) -> None:
    assert NOMINAL.search(prose) is None
