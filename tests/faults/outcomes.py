"""What became of the cases of one kind of fault."""

import sys
from collections import Counter

KEYS = ("right", "refused", "silent", "traceback", "hang")
BAD = KEYS[2:]


class Outcomes(Counter[str]):
    """Cases by outcome, and how to repeat those that are defects.

    `right`: finished with the right result. `refused`: one line "error: ..." and status 1.
    `silent`: finished with a wrong result, or left something behind. `traceback`: any other
    exception. `hang`: the time limit passed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.examples: list[tuple[str, str]] = []

    def add(self, key: str, example: str = "") -> None:
        """Count a case."""
        assert key in KEYS
        self[key] += 1
        if key in BAD:
            self.examples.append((key, example))
            print(f"{key}: {example}", file=sys.stderr, flush=True)  # a full run takes long
