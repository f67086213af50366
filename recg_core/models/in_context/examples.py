"""Users whose next item is known, and the candidates that it is told from.

Shapes: B users, M candidates, N items, E kinds of evidence, G properties of users.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recg_core.domains.sequences import Ragged, without_last
from recg_core.models.rows import places_of

HARD = 200  # candidates that score highest at the start
EASY = 200  # candidates drawn from all
NEVER = -1e9  # the log weight of what stands for nothing


class Examples(NamedTuple):
    """Users, each with the item that came next in column 0 and candidates that did not."""

    evidence_BME: Tensor
    properties_BG: Tensor
    log_weight_BM: Tensor  # of how many items a candidate stands for


class Asked(NamedTuple):
    """The users of a domain that have a next item."""

    history: Ragged  # before it
    next_item: np.ndarray  # int64, item_idx


def asked_for_last(histories: Ragged) -> Asked:
    """The users of two items or more, each asked for the last one."""
    rows = np.flatnonzero(histories.lengths >= 2)
    last = histories.values[histories.offsets[rows + 1] - 1].astype(np.int64)
    return Asked(without_last(histories.take(rows)), last)


def candidates(
    scores_BN: Tensor, asked: Asked, rows: np.ndarray, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The next item, hard and easy candidates of users (0-based items [B, M]), and the logarithms
    of what each stands for; items of the history and repeated ones stand for nothing."""
    history, next_item = asked.history.take(rows), asked.next_item[rows]
    num_items, device = scores_BN.shape[1], scores_BN.device
    target_B1 = torch.from_numpy(next_item - 1).to(device)[:, None]
    barred_BN = torch.zeros(len(rows), num_items, dtype=torch.bool, device=device)
    barred_BN[places_of(history, np.arange(num_items), device)] = True
    barred_BN.scatter_(1, target_B1, True)
    hard = min(HARD, num_items)
    hard_BM = scores_BN.masked_fill(barred_BN, NEVER).topk(hard, dim=1).indices
    easy_BM = torch.from_numpy(random.integers(0, num_items, (len(rows), EASY))).to(device)
    hard_weight_BM = torch.zeros(hard_BM.shape, device=device)
    hard_weight_BM[barred_BN.gather(1, hard_BM)] = NEVER
    taken_BN = barred_BN.scatter(1, hard_BM, True)
    easy_weight_BM = torch.full(easy_BM.shape, math.log(num_items / EASY), device=device)
    easy_weight_BM[taken_BN.gather(1, easy_BM)] = NEVER
    weights = [torch.zeros_like(target_B1, dtype=torch.float32), hard_weight_BM, easy_weight_BM]
    return torch.cat([target_B1, hard_BM, easy_BM], dim=1), torch.cat(weights, dim=1)
