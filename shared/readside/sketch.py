"""Estimates quantiles in little space by a t-digest, which is the same for the same numbers in the same order.

The relative error is a fraction of a percent at the median and less at the ends. `fastdigest` holds the digest; a KLL
sketch would draw at random, and a rebuild would then differ from what it rebuilds.
"""

from typing import Final

from fastdigest import TDigest
from msgspec import Struct

CENTROIDS_AT_MOST: Final = 100


class Quantiles(Struct, frozen=True):
    """The numbers seen so far."""

    digest: bytes = b""

    def with_number(self, number: float) -> "Quantiles":
        """These numbers and one more."""
        digest = self._open()
        digest.update(number)
        return Quantiles(digest.to_bytes())

    def at(self, share: float) -> float | None:
        """The number below which this share of the numbers is; None without any number."""
        return self._open().quantile(share) if self.digest else None

    @property
    def count(self) -> int:
        """How many numbers there were."""
        return int(self._open().n_values) if self.digest else 0

    def _open(self) -> TDigest:
        return TDigest.from_bytes(self.digest) if self.digest else TDigest(max_centroids=CENTROIDS_AT_MOST)
