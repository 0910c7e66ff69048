"""`python -m contexts.notifications` is `chorus worker notifications`."""

import sys

from shared.cli import main

main(["worker", "notifications", *sys.argv[1:]])
