"""The README and the pages of docs/, taken apart for the tests that hold them to the code."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = "contexts/vouchers"
"""The context that docs/add-a-context.md builds; its files exist only there."""


class Page:
    """One page; its prose is what stands outside the fenced blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()

    @cached_property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return FENCED.sub("", self.text)

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        titles = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}

    @property
    def links(self) -> list[tuple[str, str]]:
        """(file, anchor) of its links to other files of the repository, or to itself."""
        found = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", self.prose)
        return [(target, anchor) for target, anchor in found if not target.startswith("https:")]

    @property
    def names(self) -> list[str]:
        """The texts between backticks in its prose."""
        return names(self.prose)

    def blocks(self, language: str) -> list[str]:
        """Its fenced blocks of a language."""
        return [text for found, text in FENCED.findall(self.text) if found == language]

    def section(self, heading: str) -> str:
        """The text under a heading, up to the next one of the same level."""
        pattern = rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |^## |\Z)"
        found = re.findall(pattern, self.prose, re.MULTILINE | re.DOTALL)
        assert len(found) == 1, f"{self.name} has {len(found) or 'no'} headings {heading!r}: add it, once"
        return str(found[0][1])

    def rows(self, heading: str, *first_row: str) -> list[list[str]]:
        """The cells of the tables under a heading whose head begins with these cells; without their heads."""
        head = re.escape(" | ".join(first_row))
        tables = re.findall(rf"^\| {head} .*\n.*\n((?:\|.*\n?)+)", self.section(heading), re.MULTILINE)
        assert tables, f"{self.name}: {heading} has no table of {first_row}"
        lines = [line for table in tables for line in table.splitlines()]
        return [[cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in lines]


README = Page(ROOT / "README.md")
DOCS = {path.stem: Page(path) for path in sorted(ROOT.glob("docs/*.md"))}
PAGES = (README, *DOCS.values())


def names(text: str) -> list[str]:
    """The texts between backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def commands() -> list[str]:
    """Every command line in the console blocks, put together where it goes on in the next line."""
    text = "\n".join(block for page in PAGES for block in page.blocks("console"))
    return [line[2:] for line in text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]


@lru_cache
def defined_in(path: str) -> frozenset[str]:
    """The classes and functions of a module: `Loop`, `Loop.take`, and in a module of tests also `test_…` of a class."""

    def within(parent: ast.AST, prefix: str) -> Iterator[str]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{node.name}"
                if isinstance(node, ast.ClassDef):
                    yield from within(node, f"{prefix}{node.name}.")
                    if path.startswith("tests/"):
                        yield from within(node, "")

    file = ROOT / path
    return frozenset(within(ast.parse(file.read_text()), "")) if file.is_file() else frozenset()


@lru_cache
def told_by(path: str) -> Mapping[str, str]:
    """The docstring of each function of a module, and of each method behind that of its class."""

    def within(parent: ast.Module | ast.ClassDef, before: str) -> Iterator[tuple[str, str]]:
        for node in parent.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, before + (ast.get_docstring(node) or "")
            elif isinstance(node, ast.ClassDef):
                yield from within(node, f"{ast.get_docstring(node) or ''}\n")

    file = ROOT / path
    return dict(within(ast.parse(file.read_text()), "")) if file.is_file() else {}
