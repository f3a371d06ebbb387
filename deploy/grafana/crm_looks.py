"""What several rows of the CRM dashboard ask for, and what colours and words mean on it."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import GREEN, ORANGE, RED, YELLOW, Steps

DELIVERIES: Final = "nps_webhook_deliveries_total"
DEAD_LETTERED: Final = 'result="dead_lettered"'

NO_WEBHOOKS: Final = "Nothing is scraped from nps webhooks"

LAG_STEPS: Final[Steps] = ((None, GREEN), (1000, ORANGE))
SECONDS_STEPS: Final[Steps] = ((None, GREEN), (1, YELLOW), (10, RED))
