"""What the contexts promise each other: golden examples of every event, and every reader against its writer."""
