"""The first stage: reads the streams of the partitions that this process owns."""
