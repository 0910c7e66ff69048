"""Keys of tills, chosen by the partitions that they fall into."""

from shared.wire.messages import partition_of
from tests.integration.engine import PARTITIONS

TILL = "t-1"
PARTITION = partition_of(TILL, PARTITIONS)
NEIGHBOUR = next(f"n-{n}" for n in range(99) if partition_of(f"n-{n}", PARTITIONS) == partition_of(TILL, PARTITIONS))
"""Another till in the same partition."""
STRANGER = next(f"n-{n}" for n in range(99) if partition_of(f"n-{n}", PARTITIONS) != partition_of(TILL, PARTITIONS))
"""One in the other partition."""
