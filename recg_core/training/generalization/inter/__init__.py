"""Inter-domain compactness: how far items are from the centres of the other domains."""

from recg_core.training.generalization.base import Reading
from recg_core.training.generalization.inter.centers import Centers
from recg_core.training.generalization.inter.entropy_max import EntropyMax
from recg_core.training.generalization.inter.entropy_min import EntropyMin

INTER: dict[str, type[Reading]] = {
    "entropy_max": EntropyMax,
    "entropy_min": EntropyMin,
    "centers": Centers,
}
