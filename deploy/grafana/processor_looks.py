"""Which workers the processor dashboard asks about, and what colours and words mean on each of its panels."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import GREEN, ORANGE, RED, Steps
from deploy.grafana.variables import DEPLOYMENT

CHOSEN: Final = f'{DEPLOYMENT}, instance=~"$instance"'
WORKERS: Final = f"{{{CHOSEN}}}"

NOT_SCRAPED: Final = "Nothing is scraped from the workers"
NO_PARTITION: Final = "The workers own no partition"

LAG_STEPS: Final[Steps] = ((None, GREEN), (30, ORANGE), (300, RED))
