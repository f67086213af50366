"""The report from simulated ranks whose order is known."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import write_json
from recg_core.base.schema import RANKS, SLICES
from recg_core.ranking.full_rank import cell_metrics
from recg_core.ranking.metrics import NO_SOURCE
from recg_core.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.analysis import Analysis, ReportConfig, analyse
from recg_core.report.build import Inputs, write_report
from recg_core.report.cells import Grid, load_cells
from recg_core.report.figures import load_figures
from recg_core.report.layout import Number, Table, bold_best
from recg_core.report.published import published
from recg_core.report.summary import build_summary, findings
from recg_core.report.tables import ablation_table, comparison_tables, verdict_table
from stages.report import main

USERS, ITEMS = 400, 300
GRID = Grid(("IS", "VG"), ("IS", "VG"), ("sasrec",), ("id", "sem", "recg"), frozenset({"id"}))
CONFIG = ReportConfig(num_resamples=200)
# How many times nearer to the top than a log-uniform rank.
STRENGTH = {"id": 3.0, "sem": 2.0, "recg": 6.0, "random": 0.5, "knn": 3.0, "popularity": 20.0}


def write_cell(
    root: Path, model: str, source: str, target: str, strength: float, **saw: bool
) -> None:
    """Ranks of two seeds and their metrics JSON."""
    random = np.random.default_rng(abs(hash_of(f"{model}{source}{target}")))
    shape = (USERS, 1 if source == NO_SOURCE else 2)
    higher = np.minimum(np.exp(random.uniform(0, np.log(ITEMS), shape)) / strength, ITEMS - 20)
    frame = SeedRanks(
        np.arange(USERS, dtype=np.int32),
        np.arange(shape[1], dtype=np.int32),
        np.full(USERS, ITEMS - 7, dtype=np.int32),
        higher.astype(np.int32),
        np.zeros(shape, dtype=np.int32),
    ).to_frame()
    place = Path(model) / f"{source}_to_{target}"
    RANKS.write(frame, root / "ranks" / place.with_suffix(".parquet"))
    content = {
        "model": model, "source": source, "target": target, "num_seeds": shape[1],
        "num_users": USERS, "mean_candidates": float(ITEMS - 7),
        "saw": {
            "zero_shot": source != target, "target_text_seen": False,
            "target_interactions_used": source == target, "user_overlap": 0.0,
            "item_overlap": 0.0, **saw,
        },
        **cell_metrics(frame),
    }  # fmt: skip
    write_json(root / "metrics" / place.with_suffix(".json"), content)


def hash_of(text: str) -> int:
    """A seed that does not change between runs."""
    return int.from_bytes(text.encode(), "little") % (1 << 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Every input of a report of GRID."""
    for domain in GRID.domains:
        for source in GRID.sources:
            for variant in ("sem", "recg") + (("id",) if source == domain else ()):
                write_cell(tmp_path, f"sasrec-{variant}", source, domain, STRENGTH[variant])
            random = np.random.default_rng(7)
            slices = pl.DataFrame(
                {
                    "user_idx": np.arange(USERS),
                    "history_length": random.integers(3, 30, USERS),
                    "popularity": random.integers(0, 90, USERS),
                    "head": random.random(USERS) < 0.5,
                    "source_similarity": random.random(USERS),
                },
                schema=SLICES.columns,
            )
            SLICES.write(slices, tmp_path / "slices" / f"{source}_to_{domain}.parquet")
        for row in ("random", "knn", "popularity"):
            used = row == "popularity"
            write_cell(
                tmp_path, row, NO_SOURCE, domain, STRENGTH[row], target_interactions_used=used
            )
        stats = {
            "num_items": 24_315, "num_users": USERS, "num_interactions": 7_236,
            "mean_sequence_length": 8.04,
        }  # fmt: skip
        write_json(tmp_path / "domains" / domain / "stats.json", stats)
    curves = tmp_path / "curves" / "sasrec-sem" / "IS.csv"
    curves.parent.mkdir(parents=True)
    curves.write_text("seed,epoch,valid_ndcg@10\n0,1,0.1\n0,2,0.2\n")
    return tmp_path


def inputs(root: Path) -> Inputs:
    names = ("metrics", "ranks", "slices", "domains", "curves", "figures")
    return Inputs(*(root / name for name in names))


def analysed(root: Path, grid: Grid = GRID) -> Analysis:
    return analyse(cells_of(root, grid), grid, root / "slices", CONFIG)


def cells_of(root: Path, grid: Grid = GRID):  # type: ignore[no-untyped-def]
    return load_cells(root / "metrics", root / "ranks", grid)


def write(root: Path, grid: Grid = GRID) -> Path:
    out = root / "out"
    write_report(inputs(root), out, grid, CONFIG, revision="Made by a test.", preparation="5-core.")
    return out


def row_of(table: Table, *start: str) -> dict[str, str]:
    """The texts of the only row that begins with `start`, by column."""
    found = [row for row in table.rows if list(row[: len(start)]) == list(start)]
    assert len(found) == 1
    texts = [entry if isinstance(entry, str) else entry.text for entry in found[0]]
    return dict(zip(table.columns, texts, strict=True))


def test_means_are_those_of_the_metrics_json(root: Path) -> None:
    """The ranks alone give what the evaluation wrote beside them."""
    analysis = analysed(root)
    for path in (root / "metrics").rglob("*.json"):
        cell = json.loads(path.read_text())
        for protocol in ("full", "sampled_100"):
            for metric, value in cell[protocol].items():
                row = (cell["model"], cell["source"], cell["target"])
                assert analysis.mean(*row, protocol, metric) == pytest.approx(value)


def test_a_better_model_is_found_better_and_an_equal_one_is_not(root: Path) -> None:
    write_cell(root, "sasrec-recg", "IS", "VG", STRENGTH["sem"])
    verdicts = {
        (c.model, c.source, c.target): c
        for c in analysed(root).comparisons
        if (c.against, c.protocol, c.metric) == ("sem", "full", "ndcg@10")
    }
    better = verdicts["sasrec-recg", "VG", "IS"]
    assert (better.verdict, verdicts["sasrec-recg", "IS", "VG"].verdict) == ("better", "unclear")
    assert 0 < better.low < better.difference < better.high
    assert better.relative_low < better.relative < better.relative_high


def test_strict_cells_compare_with_strict_rows_and_others_with_all(root: Path) -> None:
    others = {
        (c.source == c.target, c.other) for c in analysed(root).comparisons
        if c.against == "training-free"
    }  # fmt: skip
    assert others == {(False, "knn"), (True, "popularity")}


def test_a_zero_shot_model_that_uses_interactions_stands_apart(root: Path) -> None:
    grid = Grid(*(GRID.domains, GRID.sources, GRID.backbones, ("sem", "counts")))
    for source in GRID.sources:
        for target in GRID.domains:
            write_cell(root, "sasrec-counts", source, target, 9.0, target_interactions_used=True)
    analysis = analysed(root, grid)
    against = {
        (c.against, c.other) for c in analysis.comparisons
        if c.model == "sasrec-counts" and c.source != c.target
    }  # fmt: skip
    assert against == {("training-free", "popularity")}
    strict, using = comparison_tables(analysis, cells_of(root, grid), grid, "full", zero_shot=True)
    assert "sasrec-counts" not in strict.columns
    assert "sasrec-sem" not in using.columns
    said = " ".join(findings(analysis, cells_of(root, grid), grid, "full"))
    assert "the best trained model is `sasrec-sem`" in said


def test_table_4_has_the_paper_beside_ours_under_its_protocol_alone(root: Path) -> None:
    analysis, cells = analysed(root), cells_of(root)
    (table,) = comparison_tables(analysis, cells, GRID, "sampled_100", zero_shot=True)
    assert table.columns[3:] == (
        "sasrec-sem", "paper", "sasrec-recg", "paper", "Impr.", "Best training-free",
    )  # fmt: skip
    row = next(r for r in table.rows if r[:3] == ("IS", "VG", "NDCG@10"))
    assert [row[4], row[6]] == [Number(16.51), Number(18.32)]
    assert isinstance(row[5], Number)
    assert row[5].bold
    assert "▲" in row[5].marks
    (table,) = comparison_tables(analysis, cells, GRID, "full", zero_shot=True)
    assert "paper" not in table.columns
    assert row_of(table, "IS", "VG", "Recall@10")["Impr."].endswith("%*")


def test_published_figures_are_the_papers() -> None:
    assert published("gru4rec-recg", "VG", "IS", "recall@5") == 17.25
    assert published("bert4rec-id", "MI", "MI", "ndcg@20") == 31.88
    assert published("bert4rec-wo_id", "IS", "VG", "recall@10") == 28.26
    assert published("gru4rec-sem", "IS", "VG", "recall@5") is None  # lost in the text
    assert published("gru4rec-sem", "IS", "books", "recall@5") is None


def test_ablation_stands_in_table_6_alone(root: Path) -> None:
    grid = Grid(GRID.domains, GRID.sources, GRID.backbones, ("sem", "recg", "wo_ig"))
    for source in GRID.sources:
        for target in GRID.domains:
            write_cell(root, "sasrec-wo_ig", source, target, 4.0)
    analysis = analysed(root, grid)
    (four,) = comparison_tables(analysis, cells_of(root, grid), grid, "full", zero_shot=True)
    assert not [column for column in four.columns if "wo_ig" in column]
    six = ablation_table(analysis, grid, "full")
    assert six is not None
    assert [row[2] for row in six.rows if row[0] == "IS"] == ["recg", "wo_ig", "sem"]
    assert row_of(six, "IS", "sasrec", "recg")["IS NDCG@10"] == "-"


def test_verdicts_name_interval_and_both_corrected_tests(root: Path) -> None:
    row = row_of(verdict_table(analysed(root), GRID, "full", "sem"), "VG", "IS", "sasrec-recg")
    assert row["Verdict"] == "better"
    assert float(row["p (t)"]) < 0.05
    assert float(row["p (Wilcoxon)"]) < 0.05
    assert float(row["SD over seeds"]) > 0


def test_slices_weigh_up_to_the_whole(root: Path) -> None:
    analysis = analysed(root)
    parts = [part for part in analysis.targets["VG"].slices if part.source == "IS"]
    whole = analysis.mean("sasrec-recg", "IS", "VG", "full", "ndcg@10")
    for attribute in ("history_length", "popularity", "head", "source_similarity"):
        chosen = [part for part in parts if part.attribute == attribute]
        assert sum(part.num_users for part in chosen) == USERS
        total = sum(part.num_users * part.values["sasrec-recg"] for part in chosen)
        assert total / USERS == pytest.approx(whole)


def test_a_pair_that_the_protocols_order_differently_is_found(root: Path) -> None:
    """A steady rank 15 of 293 never enters the ten; against 100 negatives it nearly always does."""
    path = root / "ranks" / "sasrec-sem" / "IS_to_VG.parquet"
    old = read_ranks(path)
    steady = SeedRanks(
        old.users, old.seeds, old.num_candidates, np.full_like(old.num_higher, 15), old.num_ties
    )
    RANKS.write(steady.to_frame(), path)
    found = [
        (r.one, r.other, r.clear) for r in analysed(root).targets["VG"].reversals
        if r.source == "IS" and "knn" in (r.one, r.other)
    ]  # fmt: skip
    assert ("sasrec-sem", "random", True) not in found
    pairs = {(r.one, r.other): r for r in analysed(root).targets["VG"].reversals}
    weak = pairs["sasrec-sem", "random"]
    assert weak.full < 0 < weak.sampled
    assert weak.clear


def test_summary_holds_cells_and_means(root: Path) -> None:
    analysis = analysed(root)
    summary = build_summary(analysis, cells_of(root), GRID)
    cells = [summary["sasrec-sem"][name]["full"]["ndcg@10"] for name in ("IS_to_VG", "VG_to_IS")]
    assert summary["sasrec-sem"]["mean_zero_shot"]["full"]["ndcg@10"] == pytest.approx(
        np.mean(cells)
    )
    assert "mean_zero_shot" not in summary["sasrec-id"]
    assert set(summary["knn"]) == {"to_IS", "to_VG", "mean_zero_shot", "mean_in_domain"}


class Page(HTMLParser):
    """Collects what a page refers to and what a screen reader needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        self.links += [str(values[key]) for key in ("src", "href") if key in values]
        self.ids.add(values.get("id") or "")
        if tag == "th":
            assert values.get("scope") in ("row", "col")
        if tag == "img":
            assert values.get("alt")
        if tag not in ("meta", "link", "img", "line", "polyline", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "polyline"):
            assert self.open.pop() == tag


def test_the_page_is_whole_small_accessible_and_needs_no_network(root: Path) -> None:
    image = root / "figures" / "a" / "dot.svg"
    image.parent.mkdir(parents=True)
    image.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    write_json(
        image.with_suffix(".json"),
        {"title": "A dot", "caption": "One < two.", "alt": "a dot", "image": "dot.svg",
         "columns": ["k", "value"], "rows": [["one", 1.5]]},
    )  # fmt: skip
    text = (write(root) / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert page.count["main"] == page.count["nav"] == page.count["h1"] == 1
    assert page.count["caption"] == page.count["table"]
    assert "One &lt; two." in text
    assert "<polyline" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.findall(r"https?://(?!www\.w3\.org)|<script", text)
    assert len(text) < 3_000_000


def test_markdown_csv_and_latex_say_the_same(root: Path) -> None:
    out = write(root)
    text = (out / "report.md").read_text(encoding="utf-8")
    for title in ("Table 3", "Table 4", "Table 5", "Slices", "Certificates", "## Method"):
        assert title in text
    with (out / "tables" / "table5_full.csv").open(encoding="utf-8") as stream:
        row = next(r for r in csv.DictReader(stream) if r["Metric"] == "NDCG@10")
    assert f"{row['sasrec-id']}†" in text
    latex = (out / "tables" / "table5_full.tex").read_text(encoding="utf-8")
    assert row["sasrec-id"] in latex
    assert latex.count(r"\\") == 1 + 2 * 6
    assert "_" not in re.sub(r"\\_", "", latex.split("\\begin", 1)[1])
    assert (out / "tables" / "comparisons.csv").read_text().count("\n") > 50


def test_the_same_inputs_give_the_same_bytes(root: Path) -> None:
    first = {p.name: p.read_bytes() for p in write(root).rglob("*") if p.is_file()}
    assert {p.name: p.read_bytes() for p in write(root).rglob("*") if p.is_file()} == first


def test_bold_is_the_best_of_its_group() -> None:
    rows = [("a", Number(1.0)), ("a", Number(2.0)), ("b", Number(1.5)), ("b", Number(None))]
    bold = [
        entry.bold
        for row in bold_best(rows, groups=1)
        for entry in row
        if isinstance(entry, Number)
    ]
    assert bold == [False, True, True, False]


def test_other_runs_do_not_leak_into_the_report(root: Path) -> None:
    clean = build_summary(analysed(root), cells_of(root), GRID)
    write_cell(root, "gru4rec-sem", "IS", "VG", 50.0)
    write_cell(root, "sasrec-id", "IS", "VG", 50.0)
    write_cell(root, "knn", NO_SOURCE, "films", 50.0)
    write_json(root / "metrics" / "notes.json", {"anything": 1})
    assert build_summary(analysed(root), cells_of(root), GRID) == clean


def test_missing_inputs_name_the_stage_to_run(root: Path) -> None:
    (root / "slices" / "IS_to_VG.parquet").unlink()
    with pytest.raises(UserError, match=r"IS_to_VG.parquet: no such file; run the stage"):
        analysed(root)
    (root / "ranks" / "knn" / "none_to_VG.parquet").unlink()
    with pytest.raises(UserError, match=r"none_to_VG.parquet: no such file"):
        analysed(root)
    (root / "metrics" / "knn" / "none_to_VG.json").unlink()
    with pytest.raises(UserError, match="run the baselines stage"):
        cells_of(root)
    (root / "metrics" / "sasrec-recg" / "IS_to_VG.json").unlink()
    with pytest.raises(UserError, match=r"sasrec-recg IS_to_VG; run the evaluate stage"):
        cells_of(root)


def test_ranks_of_other_users_are_refused(root: Path) -> None:
    path = root / "ranks" / "sasrec-recg" / "IS_to_VG.parquet"
    RANKS.write(RANKS.read(path).head(USERS - 1), path)
    with pytest.raises(UserError, match=r"different users \(400 and 399\)"):
        analysed(root)


def test_a_cell_twice_is_an_error(root: Path) -> None:
    path = root / "metrics" / "sasrec-sem" / "IS_to_VG.json"
    write_json(root / "metrics" / "copy" / "IS_to_VG.json", json.loads(path.read_text()))
    with pytest.raises(UserError, match="sasrec-sem IS_to_VG is there twice"):
        cells_of(root)


def test_a_figure_without_its_image_or_with_other_keys_is_an_error(tmp_path: Path) -> None:
    content = {
        "title": "t",
        "caption": "c",
        "alt": "a",
        "image": "x.png",
        "columns": [],
        "rows": [],
    }
    write_json(tmp_path / "x.json", content)
    with pytest.raises(UserError, match=r"x.png: no such file"):
        load_figures(tmp_path, tmp_path)
    write_json(tmp_path / "x.json", {**content, "colour": "red"})
    with pytest.raises(UserError, match="unknown key"):
        load_figures(tmp_path, tmp_path)
    assert load_figures(tmp_path / "none", tmp_path) == []


def test_the_stage_takes_grid_and_cut_offs_from_the_params(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "params.yaml").write_text(
        "grid: {domains: [IS, VG], sources: [IS], backbones: [sasrec], variants: [id, sem]}\n"
        "variants: {id: {items: id}, sem: {items: text}}\n"
        "preprocess: {text_rule: title, k_core: 5, split: leave_one_out}\n"
        "report: {ks: [3], headline_k: 3, num_negatives: 50, num_resamples: 50, seed: 0}\n"
    )
    main(*(Path(name) for name in ("metrics", "ranks", "slices", "domains", "curves", "figures")),
         Path("out"))  # fmt: skip
    summary = json.loads(Path("out/summary.json").read_text())
    assert set(summary) == {"sasrec-id", "sasrec-sem", "random", "knn", "popularity"}
    assert "IS_to_VG" not in summary["sasrec-id"]
    assert set(summary["knn"]["to_IS"]) == {"full", "sampled_50"}
    assert set(summary["knn"]["to_IS"]["full"]) == {"recall@3", "ndcg@3"}
    assert "text rule `title`" in Path("out/report.md").read_text(encoding="utf-8")
