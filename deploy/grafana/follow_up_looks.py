"""What colours and words mean on the dashboard of those who follow up, the same on each of its panels."""

from __future__ import annotations

from typing import Final

from deploy.grafana.panels import GREEN, RED, YELLOW, Steps
from streams.rules.scores import SMALL_SAMPLE_RESPONSES

COVERAGE_STEPS: Final[Steps] = ((None, RED), (0.5, YELLOW), (0.8, GREEN))
COVERAGE_COLOURS: Final = "Red below a half, green from 80 %."
OVERDUE_STEPS: Final[Steps] = ((None, GREEN), (0.1, YELLOW), (0.25, RED))
OVERDUE_COLOURS: Final = "Yellow from 10 %, red from 25 %."
CONVERSION_STEPS: Final[Steps] = ((None, RED), (0.05, YELLOW), (0.15, GREEN))
CONVERSION_COLOURS: Final = "Yellow from 5 %, green from 15 %."
SAMPLE_STEPS: Final[Steps] = ((None, RED), (SMALL_SAMPLE_RESPONSES, YELLOW), (400, GREEN))
WAITING_STEPS: Final[Steps] = ((None, GREEN), (1, YELLOW))
DAYS_STEPS: Final[Steps] = ((None, GREEN), (30, YELLOW), (90, RED))
DAYS_COLOURS: Final = "Yellow from 30 days, red from 90."
CONTACT_STEPS: Final[Steps] = ((None, GREEN), (24 * 3600, YELLOW), (72 * 3600, RED))

NO_CASE: Final = "No case opened in this window, or a partition is changing hands"
NONE_DUE: Final = "No case was contacted in time or overdue in this window, or a partition is changing hands"
NOT_SCRAPED: Final = "Nothing is scraped from the workers"
NONE_CONVERTED: Final = "No case that opened in this window has converted, or a partition is changing hands"
