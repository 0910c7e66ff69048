"""`python -m contexts.inventory` is `chorus worker inventory`."""

from shared.cli import main

main(["worker", "inventory"])
