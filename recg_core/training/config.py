"""The settings of training, as sections of the params."""

from collections.abc import Sequence
from dataclasses import dataclass

from recg_core.base.config import require_positive
from recg_core.base.errors import UserError


@dataclass(frozen=True)
class TrainConfig:
    """The `train` section."""

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int  # epochs without a better validation NDCG@10 after which training stops
    negatives: int  # items drawn for a batch and shared by its positions
    domain_sample: int  # items of each domain in the generalization loss of a step
    valid_users: int  # users of the source that early stopping ranks for
    threads: int  # of each seed on a CPU; a small model gains nothing from a second one

    def __post_init__(self) -> None:
        require_positive(self)


@dataclass(frozen=True)
class FusionConfig:
    """The `patterns` section: how W_f is trained."""

    batch_size: int
    learning_rate: float
    max_epochs: int
    patience: int  # epochs without a better validation NDCG@10
    negatives: int  # items drawn for a batch

    def __post_init__(self) -> None:
        require_positive(self)


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that torch does not take, and one that is there twice.

    Raises:
        UserError: naming them.
    """
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= s < 2**31 for s in seeds):
        raise UserError(f"seeds: expected distinct integers from 0 to 2^31 - 1, got {list(seeds)}")
