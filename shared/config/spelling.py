"""Suggests the word that a user probably meant."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, shown: Callable[[str], str] = str) -> str:
    """A clause such as ` (did you mean 'partitions'?)`, or nothing when no known word is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {shown(near[0])!r}?)" if near else ""
