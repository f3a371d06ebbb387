"""`nps` as a user runs it: a process of its own, in an environment that holds nothing of the caller's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

TIMEOUT_S = 60.0


def nps(settings: Mapping[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NPS_")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        env={**inherited, "COLUMNS": "400", **settings},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
