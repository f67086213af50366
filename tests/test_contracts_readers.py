"""What every reader of the registry promises to fetch and preprocess."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recg_core.base.config import build_kind
from recg_core.base.errors import UserError
from recg_core.base.files import sha256_file
from recg_core.domains.preprocess import PreprocessConfig, preprocess
from recg_core.raw.fetch import fetch
from recg_core.raw.readers import READERS, Contents, Place, RawFiles
from recg_core.raw.source import RawTable, read_source
from tests.project import bytes_below, run_command, write_params
from tests.rows import reader_row

DOMAIN = "garden"  # the demo knows a few names only
KEEP_ALL = {"k_core": 1, "text_rule": "any", "split": "leave_one_out", "max_reject_share": 0.0}


def check_reader(name: str, keys: dict[str, Any], folder: Path) -> None:
    """The whole contract; `name` is in the registry and `folder` is empty."""
    row = {"reader": name, **keys}
    contents = build_kind(READERS, row, "domains.x", key="reader").contents()
    with pytest.raises(UserError, match=r"^domains\.x: unknown key\(s\) \['surprise'\]; valid"):
        build_kind(READERS, row | {"surprise": 1}, "domains.x", key="reader")
    assert not list(folder.iterdir())  # so far nothing was fetched

    one, two = folder / "one", folder / "two"
    for out in (one, two):
        fetch(DOMAIN, row, "domains.x", out, folder / "downloads")
    assert bytes_below(one) == bytes_below(two)
    source = read_source(one)
    assert source.row == json.loads(json.dumps(row))
    assert source.interactions is not None
    texts = {role for role in source.items.columns if role != "item_id"}
    assert texts <= set(contents.texts)
    assert contents.has_interactions
    assert contents.has_ratings or "rating" not in source.interactions.columns
    files = {*source.interactions.files, *source.items.files}
    assert source.sha256 == {name: sha256_file(one / name) for name in files}
    assert {path.name for path in one.iterdir()} == files | {"source.json"}

    stats = preprocess(one, folder / "domain", PreprocessConfig(**KEEP_ALL))
    assert min(stats["num_users"], stats["num_items"]) >= 1


@pytest.mark.parametrize("name", READERS)
def test_every_reader_keeps_the_contract(name: str, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "made").mkdir()
    check_reader(name, reader_row(name, tmp_path / "given"), tmp_path / "made")


@dataclass(frozen=True)
class Walks:
    """A reader that a contributor might add: `num_users` walk along a street of lamps."""

    num_users: int

    def contents(self) -> Contents:
        return Contents(texts=("title",), has_ratings=False)

    def fetch(self, place: Place) -> RawFiles:
        visits = [
            {"who": f"u{user}", "what": f"lamp{(user + step) % 4}", "at": 1_600_000_000 + step}
            for user in range(self.num_users)
            for step in range(3)
        ]
        lamps = [{"what": f"lamp{number}", "name": f"Lamp {number}"} for number in range(4)]
        for name, records in (("visits", visits), ("lamps", lamps)):
            lines = "".join(json.dumps(record) + "\n" for record in records)
            (place.folder / f"{name}.jsonl").write_text(lines)
        return RawFiles(
            RawTable(
                ("visits.jsonl",), "jsonl", {"user_id": "who", "item_id": "what", "timestamp": "at"}
            ),
            RawTable(("lamps.jsonl",), "jsonl", {"item_id": "what", "title": "name"}),
            timestamp_unit="s",
        )


def test_a_new_reader_is_a_class_a_line_and_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "walks", Walks)
    project = tmp_path / "project"
    project.mkdir()
    domains = {"street": {"reader": "walks", "num_users": 7}}
    write_params(project, {"domains": domains, "preprocess": KEEP_ALL})
    (tmp_path / "made").mkdir()
    check_reader("walks", reader_row("walks", tmp_path, project / "params.yaml"), tmp_path / "made")

    for command in (
        "python -m stages.fetch --domain street --out raw --partial-dir parts",
        "python -m stages.preprocess --raw raw --out domain",
    ):
        done = run_command(command.split(), project)
        assert done.status == 0, done.stderr
    stats = json.loads((project / "domain" / "stats.json").read_text())
    assert (stats["num_users"], stats["num_items"], stats["num_interactions"]) == (7, 4, 21)


def test_the_contract_catches_a_reader_that_gives_other_bytes_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(9))

    class Restless(Walks):
        def fetch(self, place: Place) -> RawFiles:
            files = super().fetch(place)
            with (place.folder / "lamps.jsonl").open("a") as stream:
                stream.write(json.dumps({"what": "lamp", "name": f"Lamp {next(times)}"}))
            return files

    monkeypatch.setitem(READERS, "walks", Restless)
    with pytest.raises(AssertionError):
        check_reader("walks", {"num_users": 7}, tmp_path)
