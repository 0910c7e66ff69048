"""The parts that the answers to all questions share."""

import os
import socket
from functools import cache

from shared.context import Answer


@cache
def process_name() -> str:
    """The name of this process for an operator: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def refusal(example: str, problem: str) -> Answer:
    """The answer to a request that cannot be read."""
    return Answer(error=("400", f"ask like {example}: {problem}"[:200].replace("\n", " ")))


def unreadable(error: Exception) -> Answer:
    """The answer while the database cannot be read."""
    return Answer(error=("503", f"the database cannot be read: {error}"[:200].replace("\n", " ")))
