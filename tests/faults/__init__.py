"""Faults made on purpose: whatever is damaged, a run is right or refused, never wrong in silence.

`python -m tests.faults` runs every kind; see `tests.faults.outcomes` for what counts.
"""
