"""`python -m contexts.bank` is `chorus worker bank`."""

import sys

from shared.cli import main

main(["worker", "bank", *sys.argv[1:]])
