"""The transformer block that SASRec and BERT4Rec share. Shapes: B users, L positions, D dim."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Self-attention and a feed-forward network, each after layer normalisation (pre-norm)."""

    def __init__(self, *, dim: int, hidden_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_dim, dim)
        )
        self.residual_dropout = nn.Dropout(dropout)

    def forward(self, states_BLD: Tensor, allowed: Tensor | None) -> Tensor:
        """New states [B, L, D].

        Args:
            allowed: True where a query may read a key, broadcast to [B, heads, L, L];
                None: each position reads itself and the earlier ones.
        """
        batch, length, dim = states_BLD.shape
        query_key_value = self.query_key_value(self.attention_norm(states_BLD))
        query, key, value = query_key_value.view(
            batch, length, 3, self.num_heads, dim // self.num_heads
        ).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=allowed,
            is_causal=allowed is None,
            dropout_p=self.dropout if self.training else 0.0,
        )
        read_BLD = read.transpose(1, 2).reshape(batch, length, dim)
        states_BLD = states_BLD + self.residual_dropout(self.attention_output(read_BLD))
        change_BLD = self.feed_forward(self.feed_forward_norm(states_BLD))
        return states_BLD + self.residual_dropout(change_BLD)


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
