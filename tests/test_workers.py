"""Encoding by Ray actors: the bytes of a single process, through the death of a worker."""

import sys
from pathlib import Path

import pytest
import torch

from recg_core.base.errors import UserError
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.embeddings.workers import encode_lists, one_ahead
from tests.fakes import (
    CountingEncoder,
    DyingEncoder,
    RefusingEncoder,
    WatchedEncoder,
    contents,
    items_frame,
)
from tests.tiny_llama import SENTENCES, ours, save_models

torch.set_num_threads(1)


ITEMS = items_frame([f"i{n}" for n in range(20)])


def test_two_workers_give_the_bytes_of_one_process(cluster: None, tmp_path: Path) -> None:
    folders = save_models(tmp_path / "models")
    texts = [*SENTENCES, "", *SENTENCES[::-1]]
    items = items_frame([f"i{n}" for n in range(len(texts))], texts)
    for workers in (1, 2):
        config = EncodeConfig(rows_per_shard=4, workers=workers)
        encoder = ours(folders, dtype="bfloat16")
        encode_items(items, encoder, tmp_path / str(workers), config)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_work_of_a_killed_worker_is_done_again_and_counted_once(
    cluster: None, tmp_path: Path
) -> None:
    died = tmp_path / "died"
    counts: list[int] = []
    lists = [[f"{n}a", f"{n}b", f"{n}c"] for n in range(7)]
    vectors = list(encode_lists(DyingEncoder("2b", died), lists, 2, counts.append))
    assert died.exists()
    calm = encode_lists(CountingEncoder(), lists, 1, counts.append)
    assert [found.tolist() for found in vectors] == [found.tolist() for found in calm]
    assert sum(counts) == 21
    assert min(counts) >= 0


def test_what_workers_have_done_of_a_list_is_seen_before_it_arrives(
    cluster: None, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    counts: list[int] = []

    def advance(count: int) -> None:
        counts.append(count)
        if count:
            seen.touch()

    lists = [[f"{n}a", f"{n}b", f"{n}c"] for n in range(5)]
    vectors = list(encode_lists(WatchedEncoder(seen), lists, 2, advance))

    assert [len(found) for found in vectors] == [3] * 5
    assert sum(counts) == 15


def test_a_workers_message_arrives_without_its_traceback(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        encode_items(ITEMS, RefusingEncoder(), tmp_path / "out", EncodeConfig(3, workers=2))
    assert str(caught.value) == "the model is no model"
    assert not list(tmp_path.iterdir())


def test_more_workers_than_cores_are_refused(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encode\.workers: 3 need one CPU core each, Ray has 2"):
        encode_items(ITEMS, CountingEncoder(), tmp_path, EncodeConfig(3, workers=3))


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install -c requirements.lock -e '\.\[ray\]'"):
        encode_items(ITEMS, CountingEncoder(), tmp_path, EncodeConfig(3, workers=2))


def test_one_ahead_keeps_the_order_and_is_one_ahead() -> None:
    begun: list[int] = []

    def square(value: int) -> int:
        begun.append(value)
        return value * value

    found = []
    for result in one_ahead(square, range(5)):
        found.append(result)
        assert len(begun) <= len(found) + 1
    assert found == [0, 1, 4, 9, 16]
    with pytest.raises(ZeroDivisionError):
        list(one_ahead(lambda value: 1 // value, [1, 0, 1]))
