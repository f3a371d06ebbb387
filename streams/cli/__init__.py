"""The command line, `nps`. Data goes to stdout, the rest to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name, and exit."""
    from streams.cli.application import app

    app(prog_name="nps")
