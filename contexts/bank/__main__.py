"""`python -m contexts.bank` is `chorus worker bank`."""

from shared.cli import main

main(["worker", "bank"])
