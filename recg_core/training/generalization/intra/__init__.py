"""Intra-domain diversity: how alike the items of one domain are."""

from recg_core.training.generalization.base import Reading
from recg_core.training.generalization.intra.entropy import Entropy
from recg_core.training.generalization.intra.isometry import Isometry
from recg_core.training.generalization.intra.uniformity import Uniformity

INTRA: dict[str, type[Reading]] = {
    "entropy": Entropy,
    "uniformity": Uniformity,
    "isometry": Isometry,
}
