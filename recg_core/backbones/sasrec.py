"""SASRec (Kang & McAuley 2018): causal self-attention over the user's items.

Shapes: B users, L positions, D dim.
"""

from torch import Tensor, nn

from recg_core.backbones.base import CausalBackbone, check_sizes
from recg_core.backbones.transformer import Positions, check_heads, read


class SASRec(CausalBackbone):
    """Blocks in which a position reads itself and earlier positions.

    The item vectors come in as they are, and are not multiplied by sqrt(D) as the authors do: that
    gains nothing where they start small, and those of texts are of a size of their own.
    """

    def __init__(
        self, *, dim: int, num_layers: int, num_heads: int, dropout: float, max_length: int
    ) -> None:
        super().__init__(dim, max_length)
        check_sizes(num_layers=num_layers, num_heads=num_heads)
        self.positions = Positions(dim=dim, max_length=max_length)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dim=dim, num_heads=num_heads, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]; right padding cannot reach an earlier state."""
        states_BLD = self.dropout(self.positions(items_BLD, inputs_BL))
        for block in self.blocks:
            states_BLD = block(states_BLD)
        return self.norm(states_BLD)


class Block(nn.Module):
    """Self-attention and a feed-forward network as in the authors' code.

    What asks and what is kept beside the answer are layer-normalised states, whereas keys and
    values are the states as they are; so do the feed-forward network's input and residual.
    """

    def __init__(self, *, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.attention_output = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim),
            nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, states_BLD: Tensor) -> Tensor:
        """New states [B, L, D]."""
        asked_BLD = self.query_norm(states_BLD)
        key_BLD, value_BLD = self.key_value(states_BLD).chunk(2, dim=-1)
        dropout = self.dropout if self.training else 0.0
        found_BLD = read(self.query(asked_BLD), key_BLD, value_BLD, self.num_heads, None, dropout)
        states_BLD = self.feed_forward_norm(asked_BLD + self.attention_output(found_BLD))
        return states_BLD + self.feed_forward(states_BLD)
