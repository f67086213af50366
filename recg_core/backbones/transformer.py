"""What SASRec and BERT4Rec share. Shapes: B users, L positions, D dim."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def check_heads(dim: int, num_heads: int) -> None:
    """Refuse heads that do not share `dim` evenly with a ValueError."""
    if dim % num_heads:
        raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")


def read(
    query_BLD: Tensor,
    key_BLD: Tensor,
    value_BLD: Tensor,
    num_heads: int,
    allowed: Tensor | None,
    dropout: float,
) -> Tensor:
    """What each position reads of the values, [B, L, D]: attention of several heads.

    Args:
        allowed: True where a query may read a key, broadcast to [B, heads, L, L];
            None: each position reads itself and the earlier ones.
    """

    def by_head(states_BLD: Tensor) -> Tensor:
        return states_BLD.unflatten(-1, (num_heads, -1)).transpose(1, 2)

    found = F.scaled_dot_product_attention(
        by_head(query_BLD),
        by_head(key_BLD),
        by_head(value_BLD),
        attn_mask=allowed,
        is_causal=allowed is None,
        dropout_p=dropout,
    )
    return found.transpose(1, 2).flatten(2)


class Positions(nn.Module):
    """Adds a learned vector for each position, counted from the latest one back.

    That is what the published models do, whose sequences are padded on the left: the position
    that matters most, the latest, is the same for every user and trained by every user.
    """

    def __init__(self, *, dim: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, dim).normal_(std=0.02))

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """`items_BLD` plus its positions' vectors; raises ValueError when L exceeds the table."""
        length = inputs_BL.shape[1]
        if length > len(self.table):
            raise ValueError(f"sequence of {length} positions, the model reads {len(self.table)}")
        latest_B1 = (inputs_BL != 0).sum(dim=1, keepdim=True) - 1
        age_BL = (latest_B1 - torch.arange(length, device=inputs_BL.device)).clamp(min=0)
        return items_BLD + F.embedding(age_BL, self.table)
