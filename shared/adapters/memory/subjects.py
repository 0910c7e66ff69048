"""Subjects as the server treats them: patterns with `*` and `>`, and the transform that inserts the partition."""

import re
from collections.abc import Callable, Iterable

from shared.wire.messages import partition_of

_WILDCARD = re.compile(r"\{\{wildcard\((\d+)\)\}\}")
_PARTITION = re.compile(r"\{\{partition\((\d+),\s*([\d,\s]+)\)\}\}")


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that says whether a subject matches any of the patterns."""
    found = re.compile("|".join(f"(?:{_expression(pattern)})" for pattern in patterns) or r"(?!)")
    return lambda subject: found.fullmatch(subject) is not None


def transform(source: str, destination: str) -> Callable[[str], str]:
    """A function that transforms a subject; one that does not match `source` stays as it is."""
    expression = re.compile(_expression(source))

    def transformed(subject: str) -> str:
        found = expression.fullmatch(subject)
        if found is None:
            return subject

        def partition(asked: re.Match[str]) -> str:
            tokens = "".join(found[int(number)] for number in asked[2].split(","))
            return str(partition_of(tokens, int(asked[1])))

        return _WILDCARD.sub(lambda asked: found[int(asked[1])], _PARTITION.sub(partition, destination))

    return transformed


def _expression(pattern: str) -> str:
    tokens = {"*": r"([^.]+)", ">": r"(.+)"}
    return r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split("."))
