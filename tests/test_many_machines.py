"""The code of docs/many_machines.md, on a local Ray."""

import json
import re
import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.request import Request, urlopen

import polars as pl
import pytest
import ray
from ray import serve

from recg_core import Recommender

ROOT = Path(__file__).parents[1]
TITLES = ["Acoustic guitar strings", "Electric guitar strap", "Digital kitchen scale",
          "Stainless cooking pot", "Guitar tuner", "Chef's knife"]  # fmt: skip


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's code as a module that workers can import, and a Ray of two cores."""
    text = (ROOT / "docs" / "many_machines.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "many_machines.py").write_text("\n".join(blocks), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": path})
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    module = import_module("many_machines")
    module.port = port  # type: ignore[attr-defined]
    yield module
    serve.shutdown()
    ray.shutdown()
    sys.modules.pop("many_machines")


def test_ray_gives_the_lists_of_one_process(page: ModuleType, tmp_path: Path) -> None:
    items, histories, cache = (str(tmp_path / n) for n in ("items.csv", "visits.csv", "cache"))
    pl.DataFrame({"item_id": [f"x{n}" for n in range(6)], "title": TITLES}).write_csv(items)
    pl.DataFrame({"user_id": ["a", "a", "b", "c"], "item_id": ["x0", "x1", "x2", "x5"]}).write_csv(
        histories
    )
    shop = Recommender.load(device="cpu").fit_catalogue(items, histories, cache=cache)

    page.recommend_all(items, histories, cache, str(tmp_path / "out"), workers=1)
    found = pl.read_parquet(tmp_path / "out" / "*.parquet").sort("user_id", "rank")
    expected = shop.recommend_batch().sort("user_id", "rank")
    assert found["item_id"].to_list() == expected["item_id"].to_list()

    page.serve_all(items, histories, cache, replicas=1)
    asked = json.dumps({"history": ["x0", "x1"], "k": 2}).encode()
    with urlopen(Request(f"http://127.0.0.1:{page.port}/", asked)) as answer:
        served = [each["item_id"] for each in json.load(answer)]
    assert served == [each.item_id for each in shop.recommend(["x0", "x1"], k=2)]
