"""The faults of a simulated connection: those that a test asks for, and those that happen by chance."""

from random import Random
from typing import Literal, TypeAlias

from msgspec import Struct

Fault: TypeAlias = Literal["publication lost", "answer lost", "connection cut"]
"""The fault of one publication: it is lost, its PubAck is lost, or the PubAck is lost and the connection breaks."""


class FaultRates(Struct, kw_only=True):
    """How often each fault happens by chance, from 0 (never) to 1 (always)."""

    publication_lost: float = 0.0
    answer_lost: float = 0.0
    connection_cut: float = 0.0
    delivery_lost: float = 0.0
    """How often a delivery is lost on a sound connection."""
    delivered_twice: float = 0.0
    """How often a publication makes the consumers of its stream redeliver their last message."""

    def draw(self, random: Random) -> Fault | None:
        """The fault of the next publication, if any."""
        chance = random.random()
        rates: tuple[tuple[Fault, float], ...] = (
            ("publication lost", self.publication_lost),
            ("answer lost", self.answer_lost),
            ("connection cut", self.connection_cut),
        )
        for fault, rate in rates:
            if chance < rate:
                return fault
            chance -= rate
        return None
