"""How ranks become metrics, and the `report` section of the params."""

from dataclasses import dataclass

from recg_core.models.ranking.metrics import KS, NUM_NEGATIVES, metric_names

FULL = "full"


@dataclass(frozen=True)
class Protocols:
    """Full ranking, and ranking against sampled negatives in expectation.

    Args:
        ks: cut-offs of Recall and NDCG.
        num_negatives: of the sampled protocol.
    """

    ks: tuple[int, ...] = KS
    num_negatives: int = NUM_NEGATIVES

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"ks must be ascending cut-offs from 1 on, got {list(self.ks)}")
        if self.num_negatives < 1:
            raise ValueError(f"num_negatives must be 1 or more, got {self.num_negatives}")

    @property
    def sampled(self) -> str:
        """The name of the sampled protocol."""
        return f"sampled_{self.num_negatives}"

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Protocol and metric of each of the M columns of metrics."""
        return [(name, metric) for name in (FULL, self.sampled) for metric in metric_names(self.ks)]


@dataclass(frozen=True)
class ReportConfig(Protocols):
    """What the report derives from the ranks: the `report` section.

    Args:
        headline_k: the cut-off of summaries, slices and the heat-map.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
        drop_overlap_users: leave out the test users of a target who also occur in a source.
    """

    headline_k: int = 10
    num_resamples: int = 1000
    seed: int = 0
    drop_overlap_users: bool = False

    def __post_init__(self) -> None:
        if self.headline_k not in self.ks:
            raise ValueError(f"headline_k must be one of ks, got {self.headline_k}")
        if self.num_resamples < 1:
            raise ValueError("num_resamples must be 1 or more")
        super().__post_init__()

    @property
    def headline(self) -> tuple[str, str]:
        """The two metrics of summaries."""
        return f"recall@{self.headline_k}", f"ndcg@{self.headline_k}"
