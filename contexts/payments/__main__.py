"""`python -m contexts.payments` is `chorus worker payments`."""

from shared.cli import main

main(["worker", "payments"])
