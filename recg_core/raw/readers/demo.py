"""A made-up domain with a known answer; see `demo_corpus`."""

from dataclasses import dataclass

from recg_core.raw.readers.amazon2023 import META_COLUMNS, REVIEW_COLUMNS
from recg_core.raw.readers.base import Contents, Place, RawFiles
from recg_core.raw.source import RawTable


@dataclass(frozen=True)
class Demo:
    """A domain of the demo corpus, in the schema of Amazon Reviews 2023.

    Attributes:
        num_users: how many users there are.
        num_items: how many items there are.
        pattern: the share of steps that follow the planted rule.
        seed: another seed gives another domain of the same kind.
    """

    num_users: int
    num_items: int
    pattern: float
    seed: int

    def contents(self) -> Contents:
        """Everything that a domain may hold."""
        return Contents()

    def fetch(self, place: Place) -> RawFiles:
        """Write the files; the domain's name chooses its vocabulary."""
        from recg_core.raw.readers.demo_corpus import write_demo  # numpy, which no other needs

        write_demo(
            place.folder,
            domain=place.domain,
            num_users=self.num_users,
            num_items=self.num_items,
            pattern=self.pattern,
            seed=self.seed,
        )
        return RawFiles(
            RawTable(("reviews.jsonl.gz",), "jsonl", REVIEW_COLUMNS),
            RawTable(("meta.jsonl.gz",), "jsonl", META_COLUMNS),
        )
