"""What `--plan` says, for encoders whose texts and speed are known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recg_core.base.errors import UserError
from recg_core.embeddings import plan
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.embeddings.plan import plan_encoding
from recg_core.encoders.base import Tokens
from tests.fakes import CountingEncoder, contents, items_frame

CONFIG = EncodeConfig(rows_per_shard=3)


class LetterEncoder(CountingEncoder):
    """A token a letter, and a second of the clock a token."""

    clock = 0.0

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return Tokens([[1] * len(text) for text in texts], [len(text) for text in texts])

    def embed(self, tokens: Tokens, advance: object = None) -> np.ndarray:
        return np.ones((len(tokens.sequences), 4), dtype=np.float32)

    def encode(self, texts: Sequence[str], advance: object = None) -> np.ndarray:
        LetterEncoder.clock += sum(map(len, texts))
        return np.ones((len(texts), 4), dtype=np.float32)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.time, "monotonic", lambda: LetterEncoder.clock)


def test_tokens_time_and_disk_are_estimated_and_nothing_is_written(tmp_path: Path) -> None:
    titles = ["a" * length for length in (1, 2, 3, 4, 5, 8, 9)] + ["aa"]
    found = plan_encoding(
        items_frame([f"i{n}" for n in range(8)], titles), LetterEncoder(), tmp_path / "new", CONFIG
    )
    assert (found.items, found.shards, found.missing_shards, found.new_texts) == (8, 3, 3, 7)
    assert found.tokens == {1: 1, 2: 1, 4: 2, 8: 2, 16: 1}
    assert found.mean_tokens == pytest.approx(32 / 7)
    assert found.minutes == pytest.approx(32 / 60)
    assert found.disk_bytes == 8 * (2 * 4 + 100)
    assert "7 texts to encode: 0.5 minutes" in found.lines()[1]
    assert not (tmp_path / "new").exists()


def test_a_timed_sample_stands_for_the_tokens_it_has(tmp_path: Path) -> None:
    titles = [f"{n:0{10 + n}d}" for n in range(600)]
    items = items_frame([f"i{n}" for n in range(600)], titles)
    found = plan_encoding(items, LetterEncoder(), tmp_path, EncodeConfig(100, workers=2))
    assert found.minutes == pytest.approx(sum(map(len, titles)) / 60 / 2)


def test_only_what_is_new_counts(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(6)]
    encode_items(items_frame(ids), LetterEncoder(), tmp_path, CONFIG)
    before = contents(tmp_path)
    grown = plan_encoding(items_frame([*ids, "new"]), LetterEncoder(), tmp_path, CONFIG)
    assert (grown.shards, grown.missing_shards, grown.new_texts) == (3, 1, 1)
    renamed = items_frame([f"r{n}" for n in range(6)], ids)
    same = plan_encoding(renamed, LetterEncoder(), tmp_path, CONFIG)
    assert (same.missing_shards, same.new_texts, same.minutes) == (2, 0, 0.0)
    assert same.disk_bytes == 6 * 108
    assert contents(tmp_path) == before


def test_an_empty_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no items"):
        plan_encoding(items_frame([]), LetterEncoder(), tmp_path, CONFIG)
