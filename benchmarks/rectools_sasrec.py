"""Users per second of RecTools' SASRec; run by `benchmarks.training` in RecTools' environment.

    python rectools_sasrec.py INTERACTIONS.csv THREADS

Prints one JSON object. Training is timed by epoch from the first batch to the last, so that
preparing the data is left out.
"""

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

EPOCHS = 3


class EpochTimes(Callback):
    """Records the seconds of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    """Train, recommend, print."""
    torch.set_num_threads(int(sys.argv[2]))
    interactions = pd.read_csv(sys.argv[1], dtype={Columns.User: int, Columns.Item: int})
    interactions[Columns.Datetime] = pd.to_datetime(interactions[Columns.Datetime], unit="s")
    dataset = Dataset.construct(interactions)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=EPOCHS,
            min_epochs=EPOCHS,
            accelerator="cpu",
            callbacks=[EpochTimes()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=2,
        session_max_len=20,
        batch_size=128,
        loss="BCE",
        n_negatives=5,
        dropout_rate=0.2,
        lr=0.001,
        get_trainer_func=trainer,
    )
    model.fit(dataset)
    (times,) = (c for c in model.fit_trainer.callbacks if isinstance(c, EpochTimes))  # a copy
    users = interactions[Columns.User].unique()
    started = time.perf_counter()
    model.recommend(users, dataset, k=10, filter_viewed=True)
    recommend_seconds = time.perf_counter() - started
    result = {
        "version": version("rectools"),
        "torch": version("torch"),
        "train": len(users) / min(times.seconds),
        "recommend": len(users) / recommend_seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
