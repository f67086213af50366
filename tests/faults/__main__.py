"""Run the faults: `python -m tests.faults [--share F] [--seed N]`; status 1 if any is a defect."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import flips, inputs, kills, large, machine
from tests.faults.outcomes import BAD, GOOD, Outcomes

# A kind of fault: its name, its module's `run`, and how many a full run has.
Run = Callable[[int, int, Path], Outcomes]
KINDS: tuple[tuple[str, Run, int], ...] = (
    ("inputs", inputs.run, 2000),
    ("large", large.run, 20),
    ("flips", flips.run, 300),
    ("kills", kills.run, 200),
    ("machine", machine.run, machine.FULL),
)


def main() -> int:
    """Run every kind and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the full counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shown", type=int, default=5, help="examples of each kind")
    arguments = parser.parse_args()
    print(f"{'fault':12}" + "".join(f"{name:>10}" for name in (*GOOD, *BAD)) + "   seconds")
    examples: list[str] = []
    num_defects = 0
    for name, run, full in KINDS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = run(max(1, round(full * arguments.share)), arguments.seed, Path(folder))
        counts = "".join(f"{found[outcome]:10}" for outcome in (*GOOD, *BAD))
        print(f"{name:12}{counts}{time.monotonic() - start:10.0f}", flush=True)
        examples += [
            f"{name}, {example}" for example in getattr(found, "examples", [])[: arguments.shown]
        ]
        num_defects += found.defects
    print("".join(f"\n{example}\n" for example in examples))
    return 1 if num_defects else 0


if __name__ == "__main__":
    raise SystemExit(main())
