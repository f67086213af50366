"""For every member of a registry the arguments that its contract is checked with.

A member without arguments of its own here is checked with the first row of `params.yaml` that
names it, so that a new one needs no line.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recg_core.base.params import read_params

PARAMS = Path(__file__).parents[1] / "params.yaml"

# --- readers: a function that puts what the reader needs into a folder and gives the row's keys


def demo_row(folder: Path) -> dict[str, Any]:
    return {"num_users": 60, "num_items": 24, "pattern": 0.9, "seed": 1}


def amazon2023_row(folder: Path) -> dict[str, Any]:
    """The category Lamps in the official layout, three users of three reviews."""
    write_amazon(folder)
    return {"category": "Lamps", "location": str(folder), "interactions": "reviews"}


def table_row(folder: Path) -> dict[str, Any]:
    """The same as two CSV files."""
    pl.DataFrame(VISITS).write_csv(folder / "ratings.csv")
    pl.DataFrame(THINGS).write_csv(folder / "things.csv")
    return {
        "interactions": str(folder / "ratings.csv"),
        "items": str(folder / "things.csv"),
        "columns": COLUMNS,
        "timestamp_unit": "ms",
    }


READER_ROWS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "demo": demo_row,
    "amazon2023": amazon2023_row,
    "table": table_row,
}


def reader_row(name: str, folder: Path, params: Path = PARAMS) -> dict[str, Any]:
    """The keys of a row of a reader; `folder` takes the files that it needs."""
    if name in READER_ROWS:
        return READER_ROWS[name](folder)
    return _first_row("domains", "reader", name, params)


def _first_row(section: str, key: str, name: str, params: Path) -> dict[str, Any]:
    """The other keys of the first row that names a member of a registry."""
    rows = read_params(params).section(section).values()
    found = next((row for row in rows if row.get(key) == name), None)
    assert found is not None, f"{params} has no row in `{section}` with {key}: {name}"
    return {k: value for k, value in found.items() if k != key}


DAY = 86_400_000
START = 1_600_000_000_000
VISITS = [
    {"user": f"u{u}", "item": f"i{(u + step) % 4}", "when": START + step * DAY}
    for u in range(3)
    for step in range(3)
]
THINGS = [{"item": f"i{i}", "name": f"Lamp {i}", "about": f'It, "{i}"\nshines'} for i in range(4)]
COLUMNS = {
    "user_id": "user",
    "item_id": "item",
    "timestamp": "when",
    "title": "name",
    "description": "about",
}


def write_amazon(root: Path) -> None:
    """The files of Amazon Reviews 2023 for `VISITS` and `THINGS` as the category Lamps."""
    reviews = [
        {"user_id": v["user"], "parent_asin": v["item"], "timestamp": v["when"], "rating": 5.0}
        for v in VISITS
    ]
    meta = [{"parent_asin": t["item"], "title": t["name"], "features": ["x"]} for t in THINGS]
    files = {
        "raw/review_categories/Lamps.jsonl.gz": _jsonl(reviews),
        "raw/meta_categories/meta_Lamps.jsonl.gz": _jsonl(meta),
        "benchmark/5core/rating_only/Lamps.csv.gz": "user_id,parent_asin,rating,timestamp\n"
        + "".join(f"{v['user']},{v['item']},5.0,{v['when']}\n" for v in VISITS),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def _jsonl(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


# --- encoders: a function that puts what the encoder needs into a folder and gives an EncoderRow


@dataclass(frozen=True)
class EncoderRow:
    """The keys of an encoder's row, and another value of each.

    `fit_domains` may name the domains a, b and c.

    Attributes:
        covers_all: whether every key of the encoder is among the changes or the neutral keys.
    """

    keys: dict[str, Any]
    changes: dict[str, Any]  # of the keys that can change a vector
    neutral: dict[str, Any]  # of the keys that cannot
    covers_all: bool = True


def lsa_row(folder: Path) -> EncoderRow:
    return EncoderRow(
        keys={"dim": 3, "template": "{title}", "fit_domains": ["a", "b"]},
        changes={"dim": 2, "template": "{title}.", "fit_domains": ["a", "c"]},
        neutral={},
    )


def sentence_transformer_row(folder: Path) -> EncoderRow:
    from tests.tiny_bert import save_bert

    for name, layers in (("one", 1), ("two", 2)):
        save_bert(folder / name, layers=layers)
    return EncoderRow(
        keys={
            "model": str(folder / "one"),
            "template": "{title}",
            "pooling": "mean",
            "max_tokens": 16,
        },
        changes={
            "model": str(folder / "two"),
            "template": "{title}.",
            "pooling": "cls",
            "prompt": "red: ",
            "max_tokens": 8,
            "dim": 4,
            "dtype": "bfloat16",
            "normalize": False,
        },
        neutral={"batch_tokens": 7},
    )


def http_row(folder: Path) -> EncoderRow:
    from tests.embedding_server import serve

    return EncoderRow(
        keys={"url": serve(), "model": "m", "template": "{title}", "batch_texts": 5},
        changes={
            "model": "n",
            "template": "{title}.",
            "prompt": "red: ",
            "dim": 4,
            "normalize": False,
            "max_characters": 7,
        },
        neutral={
            "url": "http://127.0.0.1:1/v1",
            "key_variable": "SOME_KEY",
            "batch_texts": 2,
            "timeout": 1.5,
            "attempts": 2,
        },
    )


def llm2vec_row(folder: Path) -> EncoderRow:
    from tests.tiny_llama import INSTRUCTION, MAX_LENGTH, MAX_TOKENS, save_models

    folders = save_models(folder)
    adapters = [folders["mntp"], folders["supervised"]]
    return EncoderRow(
        keys={
            "model": folders["base"],
            "adapters": adapters,
            "template": "{title}",
            "chat_template": "none",
            "max_tokens": MAX_TOKENS,
            "max_length": MAX_LENGTH,
            "dtype": "float32",
        },
        changes={
            "model": folders["mntp"],
            "adapters": adapters[::-1],
            "template": "{title}.",
            "chat_template": "llama3",
            "instruction": INSTRUCTION,
            "max_tokens": 30,
            "max_length": MAX_LENGTH - 1,
            "keep_control_tokens": True,
            "dtype": "bfloat16",
        },
        neutral={"batch_tokens": 7},
    )


ENCODER_ROWS: dict[str, Callable[[Path], EncoderRow]] = {
    "lsa": lsa_row,
    "sentence_transformer": sentence_transformer_row,
    "llm2vec": llm2vec_row,
    "http": http_row,
}


def encoder_row(kind: str, folder: Path, params: Path = PARAMS) -> EncoderRow:
    """The row of an encoder; `folder` takes the files that it needs."""
    if kind in ENCODER_ROWS:
        return ENCODER_ROWS[kind](folder)
    keys = _first_row("encoders", "kind", kind, params)
    if "fit_domains" in keys:
        keys["fit_domains"] = ["a", "b"]
    changes = {"template": keys["template"] + "."}
    return EncoderRow(keys, changes=changes, neutral={}, covers_all=False)
