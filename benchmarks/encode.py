r"""Encode real item texts with a random Llama, ours and the `llm2vec` package in turns.

python -m benchmarks.encode --data FOLDER                              # 88M parameters, for a CPU
python -m benchmarks.encode --data FOLDER --size llama3-8b --texts 4096 --dtypes bfloat16 \
    --batch-tokens 16384                                               # a GPU

FOLDER holds meta_Industrial_and_Scientific.jsonl.gz (Amazon Reviews 2023 schema). The tokenizer is
a byte-level BPE of 16,000 tokens, trained on these texts, so that nothing is downloaded. Needs the
`llm2vec` package, so Python before 3.13. Loading, and a first few texts, do not count.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; see recg_core/cli/running.py

import numpy as np
import polars as pl
import torch
import torch.distributed.tensor
from llm2vec import LLM2Vec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from recg_core.base.params import read_params
from recg_core.embeddings.workers import encode_lists
from recg_core.encoders.base import Dtype
from recg_core.encoders.decoder import has_varlen
from recg_core.encoders.forward import token_batches
from recg_core.encoders.llm2vec import Llm2Vec
from recg_core.encoders.loading import encoder_device
from recg_core.encoders.text import render_texts

DOMAIN = "Industrial_and_Scientific"
SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 4,
    },
    "llama3-8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 500000.0,
    },
}  # fmt: skip
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>"]
WARM_UP_TEXTS = 16
BATCH = 32  # texts, the package's own
LIST = 512  # texts; a shard of the encode stage has more
Encode = Callable[[list[str]], np.ndarray]


def read_texts(data: Path) -> list[str]:
    """The distinct texts of the real items, in the paper's template."""
    meta = pl.read_ndjson(data / f"meta_{DOMAIN}.jsonl.gz", infer_schema_length=None)
    items = meta.select(
        "title",
        pl.col("features").cast(pl.List(pl.String)).list.join(" "),
        pl.col("description").cast(pl.List(pl.String)).list.join(" "),
    )
    template = read_params(Path("params.yaml")).get("encoders.llm2vec.template", str)
    return sorted(set(render_texts(items, template)))


def draw(texts: list[str], number: int) -> list[str]:
    """Some of the batches that the package makes of all texts, at equal distances.

    Their lengths are those of the whole catalogue, and so is the package's padding.
    """
    by_length = sorted(texts, key=len)
    starts = np.arange(0, len(texts) - BATCH + 1, BATCH)
    chosen = np.linspace(0, len(starts) - 1, max(1, number // BATCH)).round().astype(int)
    drawn = [text for start in starts[chosen] for text in by_length[start : start + BATCH]]
    return [drawn[index] for index in np.random.default_rng(0).permutation(len(drawn))]


def save_model(texts: list[str], size: str, folder: Path) -> None:
    """A trained tokenizer and a model of random weights."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=1024, **SIZES[size]
    )
    torch.set_default_dtype(torch.float32 if size == "small" else torch.bfloat16)
    with encoder_device():
        LlamaModel(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)


def matrix_rate(dtype: torch.dtype, config: Any) -> float:
    """FLOP per second of the best of several products in the shape of the model's widest layer."""
    device = encoder_device()
    tokens = 8192
    inputs = torch.randn(tokens, config.hidden_size, dtype=dtype, device=device)
    weight = torch.randn(config.intermediate_size, config.hidden_size, dtype=dtype, device=device)
    best = 0.0
    for _ in range(6):
        _synchronize()
        started = time.perf_counter()
        for _ in range(4):
            torch.nn.functional.linear(inputs, weight)
        _synchronize()
        best = max(best, 8 * inputs.numel() * len(weight) / (time.perf_counter() - started))
    return best


def flops(model: Any, lengths: np.ndarray) -> float:
    """Of the linear layers and of attention, for texts without any padding."""
    config = model.config
    linear = sum(weight.numel() for weight in model.layers.parameters() if weight.dim() == 2)
    attention = 4.0 * config.num_hidden_layers * config.hidden_size * (lengths**2).sum()
    return 2.0 * linear * lengths.sum() + attention


def padding_shares(texts: list[str], folder: Path, batch_tokens: int) -> dict[str, float]:
    """Padding among all tokens that are computed for the whole catalogue."""
    encoder = Llm2Vec(model=str(folder), adapters=(), template="{title}", chat_template="none")
    lengths = np.array([len(ids) for ids in encoder.tokenize(texts).sequences])
    characters = np.argsort([-len(text) for text in texts])
    batches = {
        f"llm2vec, sorted by characters, {BATCH} a batch": [
            characters[start : start + BATCH] for start in range(0, len(texts), BATCH)
        ],
        f"sorted by tokens, {batch_tokens} tokens a batch": token_batches(lengths, batch_tokens),
    }
    return {"packed": 0.0} | {
        name: 1 - lengths.sum() / sum(len(b) * lengths[b].max() for b in rows)
        for name, rows in batches.items()
    }


def compare(folder: Path, dtype: Dtype, texts: list[str], batch_tokens: int, repeats: int) -> None:
    """Print the table of one dtype."""
    torch_dtype = getattr(torch, dtype)
    encoder = Llm2Vec(
        model=str(folder), adapters=(), template="{title}", chat_template="none", dtype=dtype,
        batch_tokens=batch_tokens,
    )  # fmt: skip
    package = LLM2Vec.from_pretrained(
        str(folder), torch_dtype=torch_dtype, max_length=512, doc_max_length=400
    )
    package.to(encoder_device())
    contenders: dict[str, Encode] = {
        "llm2vec encode": lambda some: package.encode(some, show_progress_bar=False).numpy(),
        "ours": partial(in_lists, encoder),
    }
    if has_varlen(encoder_device(), torch_dtype):
        contenders["ours, one product a length"] = by_length(contenders["ours"])
    for encode in contenders.values():
        encode(texts[:WARM_UP_TEXTS])
    best = dict.fromkeys(contenders, np.inf)
    memory = dict.fromkeys(contenders, 0.0)
    vectors = {}
    for _ in range(repeats):
        for name, encode in contenders.items():
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            vectors[name] = encode(texts)
            best[name] = min(best[name], time.perf_counter() - started)
            if torch.cuda.is_available():
                memory[name] = torch.cuda.max_memory_allocated() / 2**30
    tokens = encoder.tokenize(texts)
    lengths = np.array([len(ids) for ids in tokens.sequences], dtype=float)
    rate = matrix_rate(torch_dtype, package.model.config)
    work = flops(package.model, lengths)
    print(f"\n{dtype}: measured matrix rate {rate / 1e9:,.0f} GFLOP/s\n")
    print(
        "| encoder | tokens/s | texts/s | utilisation | ratio | peak GiB |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for name, seconds in best.items():
        print(
            f"| {name} | {lengths.sum() / seconds:,.0f} | {len(texts) / seconds:.1f} "
            f"| {work / seconds / rate:.0%} | {best['llm2vec encode'] / seconds:.2f} "
            f"| {f'{memory[name]:.1f}' if memory[name] else '-'} |"
        )
    theirs, ours = vectors["llm2vec encode"], vectors["ours"]
    cosines = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    print(
        f"\nlargest difference {np.abs(theirs - ours).max():.1e}, least cosine {cosines.min():.6f}"
    )
    print(f"longest text: {int(lengths.max())} tokens", flush=True)


def in_lists(encoder: Llm2Vec, texts: list[str]) -> np.ndarray:
    """As the encode stage does: a list's texts become tokens while those ahead are computed."""
    lists = [texts[start : start + LIST] for start in range(0, len(texts), LIST)]
    return np.concatenate(list(encode_lists(encoder, lists, 1, lambda number: None)))


def by_length(encode: Encode) -> Encode:
    """`encode` without the kernel for texts of many lengths."""

    def encode_so(texts: list[str]) -> np.ndarray:
        with patch("recg_core.encoders.decoder.has_varlen", return_value=False):
            return encode(texts)

    return encode_so


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Build the model, draw the texts, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder with the item metadata")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--texts", type=int, default=256, help="how many, in 32s")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=2, help="on a CPU")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    every = read_texts(options.data)
    texts = draw(every, options.texts)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"`python -m benchmarks.encode {' '.join(sys.argv[1:])}`\n")
    print(
        f"{os.cpu_count()} cores {platform.machine()}, {device}, load {os.getloadavg()[0]:.1f} at "
        f"the start, {options.threads} threads, Python {platform.python_version()}, torch "
        f"{torch.__version__}; {len(texts)} of {len(every)} texts, best of {options.repeats}"
    )
    with tempfile.TemporaryDirectory() as name:
        save_model(every, options.size, Path(name))
        for way, share in padding_shares(every, Path(name), options.batch_tokens).items():
            print(f"padding of all texts, {way}: {share:.1%}")
        for dtype in options.dtypes:
            compare(Path(name), dtype, texts, options.batch_tokens, options.repeats)


if __name__ == "__main__":
    main()
