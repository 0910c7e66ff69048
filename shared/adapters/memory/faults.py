"""What goes wrong between a client and the server, when a test asks for it or by chance."""

from random import Random
from typing import Literal, TypeAlias

from msgspec import Struct

Trouble: TypeAlias = Literal["publication lost", "answer lost", "connection cut"]
"""What a publication meets: it never arrives, its PubAck never does, or neither does and the connection breaks."""


class Moods(Struct, kw_only=True):
    """How often things go wrong by themselves, between 0 (never) and 1 (always)."""

    publication_lost: float = 0.0
    answer_lost: float = 0.0
    connection_cut: float = 0.0
    delivery_lost: float = 0.0
    """How often a message leaves the server and never reaches the client, the connection being sound."""
    delivered_twice: float = 0.0
    """How often a publication makes the consumers of its stream deliver what they delivered last once more."""

    def next(self, random: Random) -> Trouble | None:
        """What the next publication meets."""
        chance = random.random()
        troubles: tuple[tuple[Trouble, float], ...] = (
            ("publication lost", self.publication_lost),
            ("answer lost", self.answer_lost),
            ("connection cut", self.connection_cut),
        )
        for trouble, share in troubles:
            if chance < share:
                return trouble
            chance -= share
        return None
