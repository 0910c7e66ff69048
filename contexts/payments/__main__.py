"""`python -m contexts.payments` is `chorus worker payments`."""

import sys

from shared.cli import main

main(["worker", "payments", *sys.argv[1:]])
