"""`python -m contexts.ordering` is `chorus worker ordering`."""

import sys

from shared.cli import main

main(["worker", "ordering", *sys.argv[1:]])
