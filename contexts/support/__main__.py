"""`python -m contexts.support` is `chorus worker support`."""

import sys

from shared.cli import main

main(["worker", "support", *sys.argv[1:]])
