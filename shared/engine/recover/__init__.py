"""Recovery: rebuilds snapshots from the journal, the journal from the stream, and the stream from the journal."""
