"""The sequence models behind one interface; a new one is tested by being registered here."""

from recg_core.backbones.base import Backbone
from recg_core.backbones.bert4rec import BERT4Rec
from recg_core.backbones.gru4rec import GRU4Rec
from recg_core.backbones.sasrec import SASRec

BACKBONES: dict[str, type[Backbone]] = {
    "gru4rec": GRU4Rec,
    "sasrec": SASRec,
    "bert4rec": BERT4Rec,
}

__all__ = ["BACKBONES", "Backbone"]
