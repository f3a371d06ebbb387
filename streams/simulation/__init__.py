"""Seeded, believable survey life: who answers, what, when, and how the delivery goes wrong.

Pure: a seed and a start time give the same records every time; no clock, no Kafka, no I/O.
"""

from streams.simulation.life import Habits, Life, Simulated
from streams.simulation.rhythm import OFFICE_HOURS, STEADY, Rhythm

__all__ = ["OFFICE_HOURS", "STEADY", "Habits", "Life", "Rhythm", "Simulated"]
