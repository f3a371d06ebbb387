"""`python -m streams.cli` is `nps`."""

from streams.cli import main

main()
