"""`python -m contexts.insights` is `chorus worker insights`."""

import sys

from shared.cli import main

main(["worker", "insights", *sys.argv[1:]])
