"""`python -m contexts.ordering` is `chorus worker ordering`."""

from shared.cli import main

main(["worker", "ordering"])
