"""`python -m shared.cli` is `chorus`: how a supervisor starts its workers with the Python it runs on."""

from shared.cli import main

main()
