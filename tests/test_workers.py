"""Encoding by Ray actors: the bytes of a single process, through the death of a worker."""

import sys
from pathlib import Path

import pytest
import torch

from recg_core.base.errors import UserError
from recg_core.embeddings.encode import EncodeConfig, encode_items
from recg_core.embeddings.workers import one_ahead
from tests.fakes import CountingEncoder, DyingEncoder, RefusingEncoder, contents, items_frame
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


def test_the_work_of_a_killed_worker_is_done_again(cluster: None, tmp_path: Path) -> None:
    died = tmp_path / "died"
    config = EncodeConfig(rows_per_shard=3, workers=2)
    encode_items(ITEMS, DyingEncoder("i7", died), tmp_path / "killed", config)
    assert died.exists()
    encode_items(ITEMS, CountingEncoder(), tmp_path / "calm", EncodeConfig(rows_per_shard=3))
    assert contents(tmp_path / "killed") == contents(tmp_path / "calm")


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
