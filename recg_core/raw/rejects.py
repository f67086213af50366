"""Lines of the input that cannot be used: counted by reason and listed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from recg_core.base.files import atomic_path
from recg_core.raw.formats import NO_RECORDS

# Lines listed for each table and reason. All are counted; the list is for looking at examples.
MAX_LISTED = 10_000
# In a table, line n of its file f (from 0) has the number f * FILE_LINES + n.
FILE_LINES = 1 << 40


@dataclass
class Rejects:
    """The lines of one table that are no usable record.

    Attributes:
        files: of the table.
        num_lines: physical lines read.
        no_records: how many of them are blank or continue a record.
        counts: how many were rejected, by reason.
        lines: of each reason the first `MAX_LISTED`, ascending.
    """

    files: Sequence[str]
    num_lines: int = 0
    no_records: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lines: dict[str, np.ndarray] = field(default_factory=dict)

    def split(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a frame of lines that have no `reason`; takes the others."""
        self.num_lines += frame.height
        bad = frame.filter(pl.col("reason").is_not_null())
        for (reason,), rows in bad.group_by("reason"):
            if reason in NO_RECORDS:
                self.no_records[reason] = self.no_records.get(reason, 0) + rows.height
            else:
                self.add(str(reason), rows["line"].to_numpy())
        return frame.filter(pl.col("reason").is_null()).drop("reason")

    def add(self, reason: str, lines: np.ndarray) -> None:
        """Reject lines, in any order."""
        if not len(lines):
            return
        self.counts[reason] = self.counts.get(reason, 0) + len(lines)
        listed = self.lines.get(reason, np.empty(0, np.int64))
        self.lines[reason] = np.sort(np.concatenate([listed, lines]))[:MAX_LISTED]

    def merge(self, other: "Rejects") -> None:
        """Take what is rejected of other lines of the same table."""
        self.num_lines += other.num_lines
        for reason, count in other.no_records.items():
            self.no_records[reason] = self.no_records.get(reason, 0) + count
        for reason, lines in other.lines.items():
            self.add(reason, lines)
            self.counts[reason] += other.counts[reason] - len(lines)

    @property
    def total(self) -> int:
        """How many lines were rejected for any reason."""
        return sum(self.counts.values())

    @property
    def num_records(self) -> int:
        """How many lines should hold a record."""
        return self.num_lines - sum(self.no_records.values())

    @property
    def share(self) -> float:
        """The share of the records that is rejected; 0 where there are none."""
        return self.total / max(self.num_records, 1)

    def commonest(self) -> tuple[str, str]:
        """The commonest reason and the first line that has it, as `file:line`."""
        reason = max(sorted(self.counts), key=lambda name: self.counts[name])
        file, line = self._place(self.lines[reason][0])
        return reason, f"{file}:{line}"

    def listed(self) -> list[dict[str, str | int]]:
        """`{"file", "line", "reason"}` of the lines that are listed, ordered by file and line."""
        found = [(line, reason) for reason, lines in self.lines.items() for line in lines]
        return [
            {**dict(zip(("file", "line"), self._place(line), strict=True)), "reason": reason}
            for line, reason in sorted(found)
        ]

    def _place(self, line: int) -> tuple[str, int]:
        return self.files[line // FILE_LINES], int(line % FILE_LINES)


def write_rejects(path: Path, tables: Sequence[Rejects]) -> None:
    """Write what each table lists, one JSON object a line."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for rejects in tables:
            for record in rejects.listed():
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
