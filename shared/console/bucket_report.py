"""Counts the values in the KV buckets of the read sides, former ones among them."""

from collections.abc import Mapping

from shared.console.sources import Sources
from shared.ports.broker import BrokerError


async def count_values(sources: Sources) -> Mapping[str, str]:
    """By bucket, the number of its values, or why it is not known."""
    found: dict[str, str] = {}
    for bucket in (table.name for side in sources.reader.sides for group in side.groups for table in group.buckets):
        try:
            found[bucket] = str((await sources.broker.stream_info(f"KV_{bucket}")).messages)
        except BrokerError as error:
            found[bucket] = str(error)
    return found
