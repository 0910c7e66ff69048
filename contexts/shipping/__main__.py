"""`python -m contexts.shipping` is `chorus worker shipping`."""

import sys

from shared.cli import main

main(["worker", "shipping", *sys.argv[1:]])
