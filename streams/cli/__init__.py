"""The command line, `nps`. Data goes to stdout, the rest to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import sys

INTERRUPTED = 128 + 2
"""The exit code that a shell gives a program that Ctrl-C (SIGINT, 2) has ended."""


def main() -> None:
    """Run the command that the arguments name, and exit."""
    try:
        from streams.cli.application import app
    except KeyboardInterrupt:  # it takes a second
        sys.stderr.write("nps: interrupted\n")
        sys.exit(INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter is no reason to end
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="nps")
