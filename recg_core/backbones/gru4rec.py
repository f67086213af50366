"""GRU4Rec (Hidasi et al. 2016): a recurrent network over the user's items."""

from torch import Tensor, nn

from recg_core.backbones.base import CausalBackbone, check_sizes


class GRU4Rec(CausalBackbone):
    """Gated recurrent units, then a linear layer back to the item space."""

    id_std = 0.125  # gates see no difference between smaller vectors, and learning does not begin

    def __init__(self, *, dim: int, num_layers: int, dropout: float, max_length: int) -> None:
        super().__init__(dim, max_length)
        check_sizes(num_layers=num_layers)
        self.dropout = nn.Dropout(dropout)
        between_layers = dropout if num_layers > 1 else 0.0
        self.gru = nn.GRU(dim, dim, num_layers, batch_first=True, dropout=between_layers)
        self.output = nn.Linear(dim, dim)

    def forward(self, items_BLD: Tensor, inputs_BL: Tensor) -> Tensor:
        """States [B, L, D]; right padding cannot reach an earlier state."""
        states_BLD, _ = self.gru(self.dropout(items_BLD))
        return self.output(states_BLD)
