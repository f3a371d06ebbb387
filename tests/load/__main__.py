"""`make load ARGS="NAME…"`: rolling, flood, large; all without a name. Prints figures, fails where not exact."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.load import flood, large, rolling

RUNS = {"rolling": rolling.run, "flood": flood.run, "large": large.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make load", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*RUNS, []], metavar="NAME", help=", ".join(RUNS))
    for name in parser.parse_args().names or RUNS:
        print(f"--- {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"nps-load-{name}-") as directory:
            RUNS[name](Path(directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
