"""The contracts between contexts: golden examples of every event, and every reader against its writer."""
