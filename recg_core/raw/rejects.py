"""Lines of the input that cannot be used: counted by reason and listed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recg_core.base.files import atomic_path

# Lines listed for each file and reason. All are counted; the list is for looking at examples.
MAX_LISTED = 10_000


@dataclass
class Rejects:
    """The rejected lines of one file: all counted, the first `MAX_LISTED` of a reason listed."""

    file: str
    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, np.ndarray] = field(default_factory=dict)  # 1-based, ascending

    def add(self, reason: str, lines: np.ndarray) -> None:
        """Add lines in any order."""
        if not len(lines):
            return
        self.counts[reason] = self.counts.get(reason, 0) + len(lines)
        listed = self.lines.get(reason, np.empty(0, np.int64))
        self.lines[reason] = np.sort(np.concatenate([listed, lines]))[:MAX_LISTED]

    @property
    def total(self) -> int:
        """How many lines were rejected for any reason."""
        return sum(self.counts.values())

    def commonest(self) -> tuple[str, str]:
        """The commonest reason and the first line that has it, as `file:line`."""
        reason = max(sorted(self.counts), key=lambda name: self.counts[name])
        return reason, f"{self.file}:{self.lines[reason][0]}"


def write_rejects(path: Path, files: Sequence[Rejects]) -> None:
    """Write `{"file", "line", "reason"}`, one JSON object a line, ordered by file and line.

    Of each file and reason the first `MAX_LISTED` lines are written; the counts are complete.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for rejects in files:
            listed = [
                (int(line), reason) for reason, lines in rejects.lines.items() for line in lines
            ]
            for line, reason in sorted(listed):
                record = {"file": rejects.file, "line": line, "reason": reason}
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
