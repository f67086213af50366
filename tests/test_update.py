"""Embeddings that outlive what DVC does to an output: it deletes it before its stage runs again."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recg_core.base.errors import UserError
from recg_core.base.schema import ITEMS
from recg_core.domains.shards import load_embeddings, read_manifest
from recg_core.embeddings.encode import EncodeConfig, update_embeddings
from recg_core.embeddings.plan import plan_encoding
from recg_core.encoders import ENCODERS
from tests.fakes import CountingEncoder, contents, items_frame
from tests.project import Done, bytes_below, run_command, write_params

CONFIG = EncodeConfig(rows_per_shard=3)
IDS = [f"i{n}" for n in range(11)]
ITEMS_11 = items_frame(IDS)


def update(
    items: pl.DataFrame, encoder: CountingEncoder, folder: Path, minutes: float | None = None
) -> bool:
    """Update `folder/out` by way of `folder/work`; whether it is complete."""
    found = update_embeddings(
        items, encoder, folder / "out", folder / "work", CONFIG, max_minutes=minutes
    )
    return found is not None


def fresh(items: pl.DataFrame, folder: Path) -> dict[str, bytes]:
    """The files of an unbroken run from nothing."""
    assert update(items, CountingEncoder(), folder)
    return contents(folder / "out")


def test_out_holds_the_embeddings_and_nothing_else(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    assert update(ITEMS_11, encoder, tmp_path)
    assert len(contents(tmp_path / "out")) == 4 + 1
    assert read_manifest(tmp_path / "out").rows == 11
    expected = np.array([encoder.vector(text) for text in IDS], dtype=np.float16)
    np.testing.assert_array_equal(load_embeddings(tmp_path / "out", IDS), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]


def test_a_finished_run_whose_output_was_deleted_encodes_nothing(tmp_path: Path) -> None:
    update(ITEMS_11, CountingEncoder(), tmp_path)
    before = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    again = CountingEncoder()
    update(ITEMS_11, again, tmp_path)
    assert again.calls == 0
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_an_interrupted_run_goes_on_though_the_output_was_deleted(
    tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        update(ITEMS_11, CountingEncoder(stop_at=stop_at), tmp_path)
    assert not (tmp_path / "out").exists()
    resumed = CountingEncoder()
    update(ITEMS_11, resumed, tmp_path)
    assert len(resumed.texts) == 11 - 3 * (stop_at - 1)
    assert contents(tmp_path / "out") == fresh(ITEMS_11, tmp_path / "unbroken")


def test_a_run_that_ran_out_of_time_publishes_nothing_and_goes_on(tmp_path: Path) -> None:
    assert not update(ITEMS_11, CountingEncoder(), tmp_path, minutes=0.0)
    assert not (tmp_path / "out").exists()
    resumed = CountingEncoder()
    assert update(ITEMS_11, resumed, tmp_path, minutes=99.0)
    assert len(resumed.texts) == 8


def test_a_grown_catalogue_encodes_its_new_texts_though_the_output_was_deleted(
    tmp_path: Path,
) -> None:
    update(ITEMS_11, CountingEncoder(), tmp_path)
    shutil.rmtree(tmp_path / "out")
    grown = items_frame([*IDS[:4], "new", *IDS[4:]])
    encoder = CountingEncoder()
    update(grown, encoder, tmp_path)
    assert encoder.texts == ["new"]
    assert contents(tmp_path / "out") == fresh(grown, tmp_path / "unbroken")


def test_the_old_embeddings_stand_until_the_new_ones_are_complete(tmp_path: Path) -> None:
    update(ITEMS_11, CountingEncoder(), tmp_path)
    before = contents(tmp_path / "out")
    grown = items_frame([*(f"n{n}" for n in range(9)), *IDS])
    with pytest.raises(KeyboardInterrupt):
        update(grown, CountingEncoder(stop_at=2), tmp_path)
    assert contents(tmp_path / "out") == before
    update(grown, CountingEncoder(), tmp_path)
    assert contents(tmp_path / "out") == fresh(grown, tmp_path / "unbroken")


def test_what_the_output_holds_is_used_where_the_work_folder_is_missing(tmp_path: Path) -> None:
    """As after `dvc pull` into a fresh clone."""
    update(ITEMS_11, CountingEncoder(), tmp_path)
    before = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "work")
    plan = plan_encoding(
        ITEMS_11, CountingEncoder(), tmp_path / "work", CONFIG, known=(tmp_path / "out",)
    )
    assert (plan.missing_shards, plan.new_texts) == (4, 0)
    assert not (tmp_path / "work").exists()
    encoder = CountingEncoder()
    update(items_frame([*IDS, "new"]), encoder, tmp_path)
    assert encoder.texts == ["new"]
    shutil.rmtree(tmp_path / "work")
    encoder = CountingEncoder()
    update(ITEMS_11, encoder, tmp_path)
    assert encoder.calls == 0
    assert contents(tmp_path / "out") == before


def test_other_settings_never_mix(tmp_path: Path) -> None:
    update(ITEMS_11, CountingEncoder(version=1), tmp_path)
    other = CountingEncoder(version=2)
    with pytest.raises(KeyboardInterrupt):
        update(ITEMS_11, CountingEncoder(version=2, stop_at=3), tmp_path)
    assert read_manifest(tmp_path / "out").encoder["version"] == 1
    update(ITEMS_11, other, tmp_path)
    assert len(other.texts) == 5
    assert read_manifest(tmp_path / "out").encoder["version"] == 2
    assert len(contents(tmp_path / "work")) == len(contents(tmp_path / "out")) == 5


def test_files_are_links_where_possible_and_else_copies_and_never_symlinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(ITEMS_11, CountingEncoder(), tmp_path / "linked")
    assert all(path.stat().st_nlink == 2 for path in (tmp_path / "linked" / "out").iterdir())

    def refuse(*names: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    update(ITEMS_11, CountingEncoder(), tmp_path / "copied")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "copied" / "out").iterdir())
    assert contents(tmp_path / "copied" / "out") == contents(tmp_path / "linked" / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_read_only_files_are_no_obstacle(tmp_path: Path) -> None:
    """DVC makes what it has cached read-only, and so the linked files of the work folder."""
    update(ITEMS_11, CountingEncoder(), tmp_path)
    linked = contents(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        path.chmod(0o444)
    (tmp_path / "out").rename(tmp_path / "cache")
    grown = items_frame([*IDS, "new"])
    update(grown, CountingEncoder(), tmp_path)
    assert contents(tmp_path / "cache") == linked
    assert contents(tmp_path / "out") == fresh(grown, tmp_path / "unbroken")


def test_a_folder_of_something_else_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    encoder = CountingEncoder()
    with pytest.raises(UserError, match=r"holds \['thesis.txt'\] and no manifest\.json"):
        update(ITEMS_11, encoder, tmp_path)
    assert encoder.calls == 0
    assert (tmp_path / "out" / "thesis.txt").exists()


def test_the_stage_goes_on_though_dvc_deletes_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders: list[CountingEncoder] = []

    def counting() -> CountingEncoder:
        encoders.append(CountingEncoder())
        return encoders[-1]

    def encode(ids: list[str], *options: str) -> tuple[Done, int]:
        """Run the stage as DVC does; how it ended and how many texts it encoded."""
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        ITEMS.write(items_frame(ids), tmp_path / "domains" / "a" / "items.parquet")
        command = (
            "python -m stages.encode --domain a --encoder x --domains domains --out out "
            "--work .work/x/a"
        )
        done = run_command([*command.split(), *options], tmp_path)
        return done, len(encoders[-1].texts)

    monkeypatch.setitem(ENCODERS, "counting", counting)
    params: dict[str, Any] = {"encode": {"rows_per_shard": 3}}
    write_params(tmp_path, params | {"encoders": {"x": {"kind": "counting"}}})
    done, encoded = encode(IDS, "--max-minutes", "0")
    assert (done.status, encoded) == (75, 3)
    assert not (tmp_path / "out").exists()
    done, encoded = encode(IDS)
    assert (done.status, encoded) == (0, 8)
    before = bytes_below(tmp_path / "out")
    assert json.loads(before["manifest.json"])["rows"] == 11
    assert encode(IDS)[1] == 0
    assert bytes_below(tmp_path / "out") == before
    assert encode([*IDS, "new"])[1] == 1
