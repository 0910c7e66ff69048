"""`python -m contexts.shipping` is `chorus worker shipping`."""

from shared.cli import main

main(["worker", "shipping"])
