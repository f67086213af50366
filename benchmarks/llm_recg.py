"""Drives the authors' released code (github.com/yunzhel2/LLM-RecG) from a checkout of it.

Its training command stops at a misnamed keyword, so their model and their training and evaluation
functions are called here as that command means to call them, with its default arguments.
"""

import contextlib
import importlib.util
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

READ_LENGTH = 48  # their max_len of 50, less the validation and the test item
NUM_AUXILIARY = 3
AUXILIARY_ITEMS = 1024  # kept of each auxiliary domain
ALPHA = 0.01


class TimedBatches:
    """A loader over ready batches that records when the last pass began and ended.

    What their functions do around the loop (writing the 400 MB checkpoint of an epoch) is so left
    out, as is the work of their dataset.
    """

    def __init__(self, batches: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        self.batches = batches
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        started = time.perf_counter()
        yield from self.batches
        self.seconds = time.perf_counter() - started


class LlmRecg:
    """Their SASRec-RecG over a catalogue of random embeddings [N + 1, H], row 0 the padding."""

    def __init__(self, checkout: Path, embeddings: Tensor, dim: int) -> None:
        sys.path.insert(0, str(checkout))  # their modules import each other from here
        module = _load(checkout / "models" / "sasrec-recg.py")
        self.trainer = _load(checkout / "models" / "model_trainer.py")
        self.num_items = len(embeddings) - 1
        self.model: Any = module.SASRecWithDomainAlignment(
            hidden_units=dim,
            max_seq_length=50,
            num_heads=2,
            num_layers=2,
            dropout_rate=0.5,
            pretrained_item_embeddings=embeddings,
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        self.auxiliary = torch.randn(NUM_AUXILIARY * AUXILIARY_ITEMS, embeddings.shape[1])
        self.auxiliary_domains = torch.arange(NUM_AUXILIARY).repeat_interleave(AUXILIARY_ITEMS)

    def train_seconds(self, batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
        """The time of one pass over `batches`, by `train_model_with_alignment`."""
        loader = TimedBatches(batches)
        with open(os.devnull, "wb") as nowhere, contextlib.redirect_stdout(io.StringIO()):
            self.trainer.train_model_with_alignment(
                model=self.model,
                dataloader=loader,
                optimizer=self.optimizer,
                num_epochs=1,
                num_items=self.num_items,
                num_aux_domains=NUM_AUXILIARY,
                sampled_domains=self.auxiliary_domains,
                sampled_embeddings=self.auxiliary,
                alpha=ALPHA,
                early_stop_patience=10,
                model_save_path=nowhere,
                device=torch.device("cpu"),
            )
        return loader.seconds

    def evaluate_seconds(self, batches: list[tuple[Tensor, Tensor, Tensor]]) -> float:
        """The time of `evaluate_model_with_neg_sampling`: 101 candidates a user."""
        loader = TimedBatches(batches)
        with contextlib.redirect_stdout(io.StringIO()):
            self.trainer.evaluate_model_with_neg_sampling(
                self.model, loader, [5, 10, 20], self.num_items, torch.device("cpu")
            )
        return loader.seconds


def left_padded_batches(
    histories: list[np.ndarray], valid: np.ndarray, test: np.ndarray, batch_size: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What their dataset and loader give: histories padded on the left, the next two items."""
    padded = np.zeros((len(histories), READ_LENGTH), dtype=np.int64)
    for row, history in zip(padded, histories, strict=True):
        recent = history[-READ_LENGTH:]
        row[READ_LENGTH - len(recent) :] = recent
    columns = [torch.from_numpy(array.astype(np.int64)) for array in (padded, valid, test)]
    return list(zip(*(column.split(batch_size) for column in columns), strict=True))


def _load(path: Path) -> ModuleType:
    name = "llm_recg_" + path.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: not a Python module; --peer names a checkout of LLM-RecG")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
