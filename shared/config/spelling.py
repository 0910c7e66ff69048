"""What somebody probably meant by a word that does not exist."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str], *, shown: Callable[[str], str] = str) -> str:
    """` (did you mean 'partitions'?)`, or nothing when no known word is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {shown(near[0])!r}?)" if near else ""
