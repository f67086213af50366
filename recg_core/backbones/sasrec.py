"""SASRec (Kang & McAuley 2018): causal self-attention over the user's items."""

from torch import Tensor, nn

from recg_core.backbones.base import CausalBackbone, check_sizes
from recg_core.backbones.transformer import Block, Positions


class SASRec(CausalBackbone):
    """Transformer blocks in which a position reads itself and earlier positions."""

    def __init__(
        self, *, dim: int, num_layers: int, num_heads: int, dropout: float, max_length: int
    ) -> None:
        super().__init__(dim, max_length)
        check_sizes(num_layers=num_layers, num_heads=num_heads)
        self.positions = Positions(dim=dim, max_length=max_length)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dim=dim, hidden_dim=dim, num_heads=num_heads, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]; right padding cannot reach an earlier state."""
        states_BLD = self.dropout(self.positions(items_BLD, inputs_BL))
        for block in self.blocks:
            states_BLD = block(states_BLD, None)
        return self.norm(states_BLD)
