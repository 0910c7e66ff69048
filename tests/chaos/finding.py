"""A broken invariant, as the checker reports it."""

from typing import Literal

from msgspec import Struct

Invariant = Literal[
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15", "I16", "I17", "I18"
]
"""The numbers of docs/faults.md."""


class Finding(Struct, frozen=True, kw_only=True):
    """One broken promise."""

    invariant: Invariant
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.where}: {self.what}"
