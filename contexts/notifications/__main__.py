"""`python -m contexts.notifications` is `chorus worker notifications`."""

from shared.cli import main

main(["worker", "notifications"])
