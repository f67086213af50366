"""How runs with a fault ended, counted."""

from collections import Counter

# Finished with the right result; refused with one line; finished with a wrong result; any other
# exception; not finished in time.
KEYS = ("right", "refused", "silent", "traceback", "hang")
BAD = KEYS[2:]


class Outcomes(Counter[str]):
    """Counts by outcome, with a line on each bad one that says how to repeat it."""

    def __init__(self) -> None:
        super().__init__()
        self.examples: list[str] = []

    def note(self, outcome: str, how: str) -> None:
        """Count an outcome; keep `how` if it is bad."""
        self[outcome] += 1
        if outcome in BAD:
            self.examples.append(f"{outcome}: {how}")
