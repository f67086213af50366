"""The `report` section of the params."""

from dataclasses import dataclass

from recg_core.models.ranking.metrics import KS, NUM_NEGATIVES
from recg_core.report.per_user import Protocols


@dataclass(frozen=True)
class ReportConfig:
    """What the report derives from the ranks.

    Args:
        ks: cut-offs of Recall and NDCG.
        headline_k: the cut-off of summaries, slices and the heat-map.
        num_negatives: of the sampled protocol.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    ks: tuple[int, ...] = KS
    headline_k: int = 10
    num_negatives: int = NUM_NEGATIVES
    num_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.headline_k not in self.ks:
            raise ValueError(f"headline_k must be one of ks, got {self.headline_k}")
        if self.num_resamples < 1:
            raise ValueError("num_resamples must be 1 or more")
        Protocols(self.ks, self.num_negatives)

    @property
    def protocols(self) -> Protocols:
        """The protocols whose metrics the report shows."""
        return Protocols(self.ks, self.num_negatives)

    @property
    def headline(self) -> tuple[str, str]:
        """The two metrics of summaries."""
        return f"recall@{self.headline_k}", f"ndcg@{self.headline_k}"

    def column(self, protocol: str, metric: str) -> int:
        """Where a metric under a protocol stands among the columns of both protocols."""
        return self.protocols.columns.index((protocol, metric))
