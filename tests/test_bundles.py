"""A model leaves the pipeline: its card has what was measured, and the hub takes and gives it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors
from ruamel.yaml import YAML

from recg_core import Recommender
from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_sealed_json
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import read_ranks
from recg_core.serving.bundle import SHIPPED
from recg_core.serving.export import export_model, read_results
from tests.project import bytes_below, run_stages, small_params, with_value

ITEMS = {
    "id": [f"b{n}" for n in range(8)],
    "title": [
        f"{word} thing" for word in ["red", "blue", "old", "new", "flat", "iron", "wool", "glass"]
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished and reported pipeline of two small models of one source."""
    folder = tmp_path_factory.mktemp("project")
    params = with_value(small_params(), "grid.variants", ["recg", "anchored_counts"])
    params = with_value(params, "grid.backbones", ["sasrec"])
    run_stages(
        folder, params, "fetch", "preprocess", "encode", "pool", "sources", "backbones",
        "train", "cluster", "evaluate", "baselines", "slices", "report",
    )  # fmt: skip
    return folder


def model_folder(project: Path, variant: str = "recg") -> Path:
    return project / "models" / variant / "garden" / "sasrec"


@pytest.fixture
def bundle(project: Path, tmp_path: Path) -> Path:
    export_model(model_folder(project), tmp_path / "bundle", license="cc-by-4.0")
    return tmp_path / "bundle"


def reads_histories(project: Path, row: str) -> bool:
    """Whether a training-free row uses interactions, by its certificate."""
    path = project / "results/ranks/training_free" / f"{row}_to_office.json"
    return bool(read_sealed_json(path, "")["saw"]["target_interactions_used"])


@pytest.mark.parametrize("variant", ["recg", "anchored_counts"])
def test_results_are_those_of_the_cells_and_of_the_best_row_that_may_compete(
    project: Path, variant: str
) -> None:
    results = read_results(model_folder(project, variant))
    assert {(r.target, r.metric, r.num_negatives) for r in results} == {
        (target, metric, negatives)
        for target in ("kitchen", "office")
        for metric in ("recall@10", "ndcg@10")
        for negatives in (None, 100)
    }
    for result in results:
        cells = project / "cells" / ("full" if result.num_negatives is None else "sampled")
        name = f"garden-{result.target}/sasrec-{variant}.json"
        assert result.value == json.loads((cells / name).read_text())[result.metric]
        free = {
            path.stem: json.loads(path.read_text())[result.metric]
            for path in (cells / result.target).glob("*.json")
            if variant == "anchored_counts" or not reads_histories(project, path.stem)
        }
        assert result.training_free_value == max(free.values()) == free[result.training_free]
        assert 0 <= result.low <= result.value <= result.high


def test_intervals_are_the_bootstrap_of_the_report(project: Path) -> None:
    """A plain loop over the same draws."""
    result = next(r for r in read_results(model_folder(project)) if r.num_negatives is None)
    ranks = read_ranks(project / "results/ranks/recg/sasrec" / f"garden_to_{result.target}.parquet")
    gains = ranking_metrics(ranks.num_higher[:, 0], ranks.num_ties[:, 0], ranks.num_candidates)
    values = gains[result.metric]
    random = np.random.default_rng(0)
    draws = [
        values[random.integers(0, len(values), len(values), dtype=np.int32)].mean()
        for _ in range(1000)
    ]
    assert (result.low, result.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]))


def test_the_card_says_what_it_is_with_metadata_of_the_hub(bundle: Path) -> None:
    text = (bundle / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    metadata = YAML(typ="safe", pure=True).load(head)
    assert metadata["license"] == "cc-by-4.0"
    assert metadata["library_name"] == "llm-recg"
    assert "zero-shot" in metadata["tags"]
    assert "domain garden" in body
    assert "50 sequential" not in body  # the small model has four
    assert "4 sequential patterns" in body
    for result in Recommender.load(bundle, device="cpu").card.results:
        assert f"{100 * result.value:.2f} ({100 * result.low:.2f} to" in body
        assert f"`{result.training_free}`" in body


def test_a_bundle_that_is_saved_again_is_the_same(bundle: Path, tmp_path: Path) -> None:
    Recommender.load(bundle, device="cpu").save(tmp_path / "again")
    assert bytes_below(tmp_path / "again") == bytes_below(bundle)


def test_a_model_that_was_not_evaluated_has_no_results(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("results", "cells"))
    export_model(model_folder(copy), tmp_path / "bundle")
    text = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "evaluated it on no other domain" in text
    assert "license: unknown" in text
    assert "Nobody named a licence" in text


def test_ranks_of_another_model_are_refused(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    path = copy / "results/ranks/recg/sasrec/garden_to_office.json"
    write_sealed_json(path, {**read_sealed_json(path, ""), "curve_sha256": "00"})
    with pytest.raises(UserError, match=r"ranks of another model .*run the evaluate stage"):
        export_model(model_folder(copy), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("license", ["", "MIT", "a: b", "mit\ntags: [x]"])
def test_a_licence_that_is_no_identifier_is_refused(
    license: str, project: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="expected an identifier of the Hugging Face hub"):
        export_model(model_folder(project), tmp_path / "bundle", license=license)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "file",
    ["seed-0.safetensors", "encoder.safetensors", "patterns/patterns.json",
     "patterns/seed-0.safetensors", "bundle.json"],
)  # fmt: skip
def test_of_a_damaged_bundle_one_is_told_to_get_another(file: str, bundle: Path) -> None:
    """It is no output of a stage, and DVC has none of it."""
    path = bundle / file
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        elif file == "bundle.json":  # then the folder is no bundle
            break
        with pytest.raises(UserError, match=f"{file}: .*copy or export the bundle again") as said:
            Recommender.load(bundle)
        assert not re.search(r"stage|DVC|dvc|\n", str(said.value))
        path.write_bytes(b"")


class Hub:
    """Stands in for the hub: repositories are folders, downloads lie as in the client's cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append((repo_id, options))
        (self.root / "hub" / repo_id).mkdir(parents=True, exist_ok=True)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
        shutil.copytree(folder_path, self.root / "hub" / repo_id, dirs_exist_ok=True)
        url = f"https://hub.example/{repo_id}/commit/1"
        return type("Commit", (), {"commit_url": url})()

    def snapshot_download(
        self, repository: str, *, revision: str, allow_patterns: list[str],
        ignore_patterns: list[str],
    ) -> str:  # fmt: skip
        self.calls.append((repository, {"revision": revision}))
        name = f"models--{repository.replace('/', '--')}"
        place = self.root / "cache" / name / "snapshots" / revision
        blobs = self.root / "cache" / name / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        files = [p for p in (self.root / "hub" / repository).rglob("*") if p.is_file()]
        for number, file in enumerate(files):
            relative = file.relative_to(self.root / "hub" / repository)
            # The client's patterns are of `fnmatch`, in which a star crosses folders.
            if any(relative.match(pattern) for pattern in allow_patterns):
                blob = blobs / f"{number}"
                shutil.copy(file, blob)
                (place / relative).parent.mkdir(parents=True, exist_ok=True)
                (place / relative).symlink_to(blob)
        return str(place)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_what_is_pushed_comes_back_and_recommends_the_same(
    bundle: Path, hub: Hub, tmp_path: Path
) -> None:
    model = Recommender.load(bundle, device="cpu")
    url = model.push_to_hub("me/shop", private=True)
    assert url == "https://hub.example/me/shop/commit/1"
    assert hub.calls == [("me/shop", {"private": True, "exist_ok": True})]
    (hub.root / "hub" / "me" / "shop" / "weights.pkl").write_bytes(b"code")
    again = Recommender.from_pretrained("me/shop", revision="v1", device="cpu")
    assert hub.calls[1:] == [("me/shop", {"revision": "v1"})]
    assert not list((hub.root / "cache").rglob("*.pkl"))
    found = [
        each.fit_catalogue(ITEMS, cache=tmp_path / "vectors").recommend(["b0"], k=4)
        for each in (model, again)
    ]
    assert found[0] == found[1]


def test_a_folder_is_read_where_it_is(bundle: Path, hub: Hub) -> None:
    assert Recommender.from_pretrained(bundle, device="cpu").card.license == "cc-by-4.0"
    assert hub.calls == []
    with pytest.raises(UserError, match="is a folder, which has no revisions"):
        Recommender.from_pretrained(bundle, revision="v1")


@pytest.mark.parametrize("name", ["./missing", "missing", "a/b/c", "~/missing"])
def test_what_is_neither_folder_nor_hub_name_is_said(name: str, hub: Hub) -> None:
    with pytest.raises(UserError, match="is no folder, and a name on the hub is owner/name"):
        Recommender.from_pretrained(name)
    assert hub.calls == []


def test_another_model_of_the_hub_is_no_bundle(hub: Hub) -> None:
    (hub.root / "hub" / "you" / "bert").mkdir(parents=True)
    (hub.root / "hub" / "you" / "bert" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"'you/bert': is no bundle: it holds no bundle\.json"):
        Recommender.from_pretrained("you/bert")


def test_without_a_token_one_is_told_where_it_goes(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise errors.LocalTokenNotFoundError("no token")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"'me/shop': could not be uploaded, .*HF_TOKEN"):
        Recommender.load(bundle).push_to_hub("me/shop")


def test_an_encoder_that_only_this_machine_has_is_not_pushed(
    bundle: Path, hub: Hub, tmp_path: Path
) -> None:
    model = Recommender.load(bundle, device="cpu")
    model.card.encoder["model"] = str(tmp_path)
    with pytest.raises(UserError, match="is a folder of this machine"):
        model.push_to_hub("me/shop")
    assert hub.calls == []


def test_the_shipped_bundle_has_a_licence_and_results() -> None:
    model = Recommender.load(device="cpu")
    assert model.card.license != "unknown"
    assert {result.target for result in model.card.results} == {
        "Amazon Industrial and Scientific, another sample of a category trained on, split by time",
        "MovieLens-100k, split by time",
    }
    assert (SHIPPED / "README.md").read_text().count("| 100 negatives |") == 4
