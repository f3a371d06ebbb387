"""Runs that show what a worker does at its limits: `make load`, with figures. Short ones are in tests/faults."""
