"""The second stage of a group: folds events into its tables and runs its topologies, within one transaction."""
