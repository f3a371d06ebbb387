"""Writes the dashboards: `python -m deploy.grafana`. With `--check` it only says whether the files are those."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from deploy.grafana import crm, follow_up, processor, programme
from deploy.grafana.panels import as_json

DASHBOARDS: Final = Path(__file__).parent / "dashboards"


def texts() -> dict[str, str]:
    """File name → JSON text of each dashboard."""
    dashboards = {"programme": programme, "follow-up": follow_up, "processor": processor, "crm": crm}
    return {f"{name}.json": as_json(each.dashboard()) for name, each in dashboards.items()}


def main() -> int:
    """Return the exit code: 1 where `--check` finds another text than the code gives."""
    parser = argparse.ArgumentParser(prog="python -m deploy.grafana", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a file is not what it should be"
    )
    check = parser.parse_args().check
    status = 0
    for name, text in texts().items():
        path = DASHBOARDS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            sys.stderr.write(f"{path.name} is not what the code gives: run make dashboards\n")
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
            sys.stderr.write(f"{path.name} written\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
