"""Quality of RecTools' SASRec or BERT4Rec; run by `benchmarks.in_domain` in RecTools' environment.

    python rectools_in_domain.py INTERACTIONS.csv SETTINGS.json

The CSV has a row an interaction: user_id, item_id, weight, datetime and part (train, valid, test).
Trains on `train` until NDCG@10 on `valid` has not improved for some epochs, then recommends from
`train` and `valid` and prints one JSON object: Recall@10 and NDCG@10 on `test`, and CPU seconds.
"""

import json
import os
import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel

K = 10
MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}
warnings.filterwarnings("ignore")


class BestEpoch(Callback):
    """Remembers the weights of the best epoch and stops some epochs after it."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.epoch = self.best_epoch = 0
        self.best = -1.0
        self.gains: list[torch.Tensor] = []
        self.state: dict[str, torch.Tensor] = {}
        self.started, self.seconds = 0.0, 0.0

    def on_train_start(self, *_: Any) -> None:
        self.started = time.process_time()

    def on_validation_epoch_start(self, *_: Any) -> None:
        self.gains = []

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """NDCG of a batch, items of the history left out."""
        scores = outputs["logits"].reshape(len(batch["y"]), -1).clone()
        wanted = scores.gather(1, batch["y"])
        scores.scatter_(1, batch["x"], -torch.inf)
        scores[:, : module.data_preparator.n_item_extra_tokens] = -torch.inf
        higher = (scores > wanted).sum(dim=1)
        self.gains.append(torch.where(higher < K, 1 / torch.log2(higher + 2.0), 0.0))

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        """Keep the weights if they are the best, and stop if they have long been others."""
        self.epoch += 1
        ndcg = torch.cat(self.gains).mean().item()
        if ndcg > self.best:
            self.best, self.best_epoch = ndcg, self.epoch
            self.state = {
                name: tensor.clone() for name, tensor in module.torch_model.state_dict().items()
            }
        trainer.should_stop = self.epoch - self.best_epoch >= self.patience
        self.seconds = time.process_time() - self.started
        print(f"epoch {self.epoch} {ndcg:.4f} {self.seconds:.0f} s", file=sys.stderr, flush=True)


def last_of_each_user(interactions: pd.DataFrame) -> np.ndarray:
    """The mask of the validation items, which come last."""
    return (interactions.groupby(Columns.User).cumcount(ascending=False) == 0).to_numpy()


def main() -> None:
    """Train, recommend, print."""
    with open(sys.argv[2], encoding="utf-8") as stream:
        settings = json.load(stream)
    torch.set_num_threads(settings["threads"])
    seed_everything(settings["seed"])
    table = pd.read_csv(sys.argv[1], dtype={Columns.User: int, Columns.Item: int})
    table[Columns.Datetime] = pd.to_datetime(table[Columns.Datetime], unit="s")
    known = Dataset.construct(table[table["part"] != "test"].drop(columns="part"))

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=settings["max_epochs"],
            accelerator="cpu",
            callbacks=[BestEpoch(settings["patience"])],
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = MODELS[settings["model"]](
        get_val_mask_func=last_of_each_user, get_trainer_func=trainer, **settings["arguments"]
    )
    model.fit(known)
    (best,) = (each for each in model.fit_trainer.callbacks if isinstance(each, BestEpoch))
    model.lightning_model.torch_model.load_state_dict(best.state)
    test = table[table["part"] == "test"]
    found = model.recommend(test[Columns.User].unique(), known, k=K, filter_viewed=True)
    found = test.merge(found, on=[Columns.User, Columns.Item])
    result = {
        "versions": {"RecTools": version("rectools"), "its torch": version("torch")},
        "recall": len(found) / len(test),
        "ndcg": float((1 / np.log2(found[Columns.Rank] + 1)).sum() / len(test)),
        "best_epoch": best.best_epoch,
        "epochs": best.epoch,
        "seconds": best.seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
