"""BERT4Rec (Sun et al. 2019): bidirectional self-attention, trained on hidden items."""

import torch
from torch import Tensor, nn

from recg_core.backbones.base import MASK, Backbone, Views, check_sizes
from recg_core.backbones.transformer import Positions, check_heads, read


class BERT4Rec(Backbone):
    """Transformer blocks in which every position reads all others, and a vector for hidden items.

    In training each item is hidden with `mask_probability`; with the same probability a sequence
    hides its last item alone, which is the question asked at inference.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
        max_length: int,
        mask_probability: float,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_layers=num_layers, num_heads=num_heads)
        if max_length < 2:
            raise ValueError("max_length must be 2 or more: the mask takes one position")
        if not 0 < mask_probability < 1:
            raise ValueError(f"mask_probability must lie between 0 and 1, not {mask_probability}")
        self.dim = dim
        self.max_length = max_length
        self.training_length = max_length
        self.history_length = max_length - 1  # the mask takes the last position
        self.mask_probability = mask_probability
        self.mask = nn.Parameter(torch.empty(dim).normal_(std=0.02))
        self.positions = Positions(dim=dim, max_length=max_length)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dim=dim, num_heads=num_heads, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]; padding is never read."""
        items_BLD = torch.where((inputs_BL == MASK)[:, :, None], self.mask, items_BLD)
        states_BLD = self.dropout(self.positions(items_BLD, inputs_BL))
        allowed = (inputs_BL != 0)[:, None, None, :]
        for block in self.blocks:
            states_BLD = block(states_BLD, allowed)
        return self.norm(states_BLD)

    def training_views(self, sequences_BL: Tensor, generator: torch.Generator) -> Views:
        """Hidden positions predict their own item."""
        device = sequences_BL.device
        valid_BL = sequences_BL > 0
        last_B1 = valid_BL.sum(dim=1, keepdim=True) - 1
        last_BL = torch.arange(sequences_BL.shape[1], device=device) == last_B1
        chance_BL = torch.rand(sequences_BL.shape, generator=generator, device=device)
        hidden_BL = (chance_BL < self.mask_probability) & valid_BL
        only_last_B1 = torch.rand((len(last_B1), 1), generator=generator, device=device)
        only_last_B1 = (only_last_B1 < self.mask_probability) | ~hidden_BL.any(dim=1, keepdim=True)
        hidden_BL = torch.where(only_last_B1, last_BL, hidden_BL)
        return Views(
            inputs_BL=sequences_BL.masked_fill(hidden_BL, MASK),
            targets_BL=sequences_BL.masked_fill(~hidden_BL, 0),
        )

    def inference_views(self, histories_BL: Tensor) -> tuple[Tensor, Tensor]:
        """A mask is appended; its state is the user vector."""
        lengths_B = (histories_BL > 0).sum(dim=1)
        inputs_BL = torch.nn.functional.pad(histories_BL, (0, 1))
        return inputs_BL.scatter(1, lengths_B[:, None], MASK), lengths_B


class Block(nn.Module):
    """Self-attention and a feed-forward network, each after layer normalisation (pre-norm)."""

    def __init__(self, *, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.residual_dropout = nn.Dropout(dropout)

    def forward(self, states_BLD: Tensor, allowed: Tensor) -> Tensor:
        """New states [B, L, D]; `allowed` as in `read`."""
        query_BLD, key_BLD, value_BLD = self.query_key_value(self.attention_norm(states_BLD)).chunk(
            3, dim=-1
        )
        dropout = self.dropout if self.training else 0.0
        found_BLD = read(query_BLD, key_BLD, value_BLD, self.num_heads, allowed, dropout)
        states_BLD = states_BLD + self.residual_dropout(self.attention_output(found_BLD))
        change_BLD = self.feed_forward(self.feed_forward_norm(states_BLD))
        return states_BLD + self.residual_dropout(change_BLD)
