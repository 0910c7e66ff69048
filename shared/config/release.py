"""The release of Chorus that runs here."""

from functools import cache


@cache
def release() -> str:
    """The version of the installed package."""
    from importlib.metadata import version  # Most commands do not need it.

    return version("chorus")
