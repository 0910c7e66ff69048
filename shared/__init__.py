"""The machinery that every context shares; it never imports a context."""
