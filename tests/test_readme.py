"""The README's library recipe does what it says."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.project import ROOT


def recipe() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"In Python, with frames .*?\n\n```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_recipe_recommends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    titles = ["Guitar strings", "Guitar strap", "Guitar tuner", "Cooking pot", "Chef's knife"]
    brands = ["Acme", "Acme", "Other", "Acme", "Other"]
    ids = [f"id{n}" for n in range(1, 6)]
    pl.DataFrame({"id": ids, "title": titles, "brand": brands}).write_csv("items.csv")
    pl.DataFrame({"id": ["id6"], "title": ["Guitar picks"], "brand": ["Acme"]}).write_csv(
        "new-items.csv"
    )
    events = {"user": ["ann", "ann", "bob"], "item": ["id1", "id2", "id4"], "time": [1, 2, 3]}
    pl.DataFrame(events).write_csv("events.csv")
    pl.DataFrame({"user": ["eve"], "item": ["id6"], "time": [4]}).write_csv("new-events.csv")
    names: dict[str, Any] = {}
    exec(recipe(), names)
    assert [each.item_id for each in names["best"]] == ["id4"]  # of Acme, and not seen
    assert {item for item, _ in names["best"][0].because} <= {"id1", "id2"}
    first = names["for_all"].filter(rank=1)
    assert dict(first["user_id", "item_id"].rows()) == {"ann": "id3", "bob": "id5"}
    assert names["shop"].users == ["ann", "bob", "eve"]
    assert {each.item_id for each in names["near"][:2]} <= {"id2", "id3", "id6"}
