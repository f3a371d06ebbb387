"""The command line, `nps`. Exit codes: 0 done, 1 failed, 2 wrong usage. Data goes to stdout, the rest to stderr."""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name, and exit."""
    from streams.cli.application import app

    app(prog_name="nps")
