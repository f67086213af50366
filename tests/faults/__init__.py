"""Faults on purpose, and how the stages end: `python -m tests.faults`."""
