"""`python -m contexts.inventory` is `chorus worker inventory`."""

import sys

from shared.cli import main

main(["worker", "inventory", *sys.argv[1:]])
