"""The report from simulated ranks whose order is known."""

import csv
import dataclasses
import hashlib
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_json, write_sealed_json
from recg_core.base.schema import ITEMS as ITEMS_TABLE
from recg_core.base.schema import LISTS, RANKS, SEQUENCES, SLICES
from recg_core.evaluation.certificate import NO_SOURCE, Example, Saw, lists_path, write_cell
from recg_core.figures.draw import Image, write_image
from recg_core.models.ranking.metrics import ranking_metrics
from recg_core.models.ranking.ranks import SeedRanks, read_ranks
from recg_core.report.advice import advice, of_later_events
from recg_core.report.analysis import Analysis, analyse
from recg_core.report.build import Inputs, Outputs, write_report
from recg_core.report.calibration import calibration_section, reversals
from recg_core.report.cells import Cell, Cells, Grid, Model, load_cells, metrics_folder
from recg_core.report.config import ReportConfig
from recg_core.report.examples import examples_section
from recg_core.report.figures import load_figures
from recg_core.report.heatmap import heatmap_table
from recg_core.report.layout import Number, Table, bold_best
from recg_core.report.levels import levels
from recg_core.report.overlap import without_overlap
from recg_core.report.paper_tables import ablation_table, comparison_tables, published
from recg_core.report.summary import averages_table, build_summary, gains, rivalry, rows_table
from recg_core.report.tables import slices_table, training_free_table, verdict_table
from recg_core.report.wording import preparation
from stages.report import main
from tests.project import bytes_below

USERS, ITEMS = 400, 300
GRID = Grid(("IS", "VG"), ("IS", "VG"), ("sasrec",), ("id", "sem", "recg"))
CONFIG = ReportConfig(num_resamples=200)
# How many times nearer to the top than a log-uniform rank.
STRENGTH = {"id": 3.0, "sem": 2.0, "recg": 6.0, "random": 0.5, "knn": 3.0, "popularity": 20.0}
CURVE = b"seed,epoch,valid_ndcg@10\n0,1,0.1\n0,2,0.2\n"
# User u of a domain had items u + 1 to u + 7 and then u + 8.
EXAMPLES = (Example(0, (8, 9, 10, 11, 12)), Example(5, (40, 41, 42, 43, 44)))
ID, SEM, RECG = (Model("sasrec", variant) for variant in ("id", "sem", "recg"))


def write_ranks(
    root: Path, model: Model, source: str, target: str, strength: float, **saw: bool
) -> None:
    """A cell of two seeds, one without a backbone."""
    random = np.random.default_rng(abs(hash_of(f"{model}{source}{target}")))
    shape = (USERS, 1 if source == NO_SOURCE else 2)
    higher = np.minimum(np.exp(random.uniform(0, np.log(ITEMS), shape)) / strength, ITEMS - 20)
    ranks = SeedRanks(
        np.arange(USERS, dtype=np.int32),
        np.arange(shape[1], dtype=np.int32),
        np.full(USERS, ITEMS - 7, dtype=np.int32),
        higher.astype(np.int32),
        np.zeros(shape, dtype=np.int32),
    )
    seen = Saw(
        zero_shot=source != target,
        target_text_seen=False,
        target_interactions_used=source == target,
        user_overlap=0.0,
        item_overlap=0.0,
    )
    place = place_of(root, model, source, target)
    write_cell(
        place.parent,
        place.name,
        ranks,
        dataclasses.replace(seen, **saw),
        backbone=model.backbone,
        variant=model.variant,
        source=source,
        target=target,
        transfers=model.variant != "id",
        curve_sha256=hashlib.sha256(CURVE).hexdigest(),
        description=f"What {model.variant} does.",
        examples=EXAMPLES,
    )


def place_of(root: Path, model: Model, source: str, target: str) -> Path:
    """Where the evaluation writes a cell, without the ending."""
    if model.backbone is None:
        return root / "ranks" / "training_free" / f"{model}_to_{target}"
    return root / "ranks" / str(model) / source / f"{source}_to_{target}"


def hash_of(text: str) -> int:
    """A seed that does not change between runs."""
    return int.from_bytes(text.encode(), "little") % (1 << 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Every input of a report of GRID."""
    for domain in GRID.domains:
        for source in GRID.sources:
            for variant in ("sem", "recg") + (("id",) if source == domain else ()):
                model = Model("sasrec", variant)
                write_ranks(tmp_path, model, source, domain, STRENGTH[variant])
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
            write_ranks(
                tmp_path, Model(None, row), NO_SOURCE, domain, STRENGTH[row],
                target_interactions_used=used,
            )  # fmt: skip
        stats = {
            "num_items": 24_315, "num_users": USERS, "num_test_users": USERS,
            "num_interactions": 7_236,
            "mean_sequence_length": 8.04,
        }  # fmt: skip
        write_sealed_json(tmp_path / "domains" / domain / "stats.json", stats)
        write_domain(tmp_path / "domains" / domain)
    curves = tmp_path / "curves" / "sem" / "IS" / "sasrec.csv"
    curves.parent.mkdir(parents=True)
    curves.write_bytes(CURVE)
    return tmp_path


def write_domain(folder: Path) -> None:
    """Items and sequences; the first title would be markup, and the second is long."""
    titles = ["<b>Lamp</b>", "long " * 30, *(f"Lamp {item}" for item in range(3, ITEMS + 1))]
    numbers = list(range(1, ITEMS + 1))
    texts = {
        "item_id": [f"i{item}" for item in numbers], "title": titles, "features": titles,
        "description": titles,
    }  # fmt: skip
    items = pl.DataFrame({"item_idx": numbers, **texts}, schema=ITEMS_TABLE.columns)
    ITEMS_TABLE.write(items, folder / "items.parquet")
    taken = [[(user + step) % ITEMS + 1 for step in range(8)] for user in range(USERS)]
    sequences = {
        "user_idx": range(USERS), "user_id": [f"u{user}" for user in range(USERS)],
        "item_idx": taken, "timestamp": [list(range(8))] * USERS,
        "train_length": [6] * USERS, "valid_position": [6] * USERS, "test_position": [7] * USERS,
    }  # fmt: skip
    frame = pl.DataFrame(sequences, schema=SEQUENCES.columns)
    SEQUENCES.write(frame, folder / "sequences.parquet")


def inputs(root: Path) -> Inputs:
    return Inputs(*(root / name for name in ("ranks", "slices", "domains", "curves", "figures")))


def analysed(root: Path, grid: Grid = GRID) -> Analysis:
    return analyse(cells_of(root, grid), root / "slices", CONFIG)


def cells_of(root: Path, grid: Grid = GRID) -> Cells:
    return load_cells(root / "ranks", grid)


def cell_of(root: Path, model: Model, source: str, target: str, grid: Grid = GRID) -> Cell:
    found = cells_of(root, grid).find(model, source, target)
    assert found is not None
    return found


def write(root: Path, grid: Grid = GRID, config: ReportConfig = CONFIG) -> Path:
    out = root / "results" / "report"
    outputs = Outputs(
        out,
        *(root / "results" / name for name in ("full", "sampled", "summary.json", "heatmap.svg")),
    )
    write_report(inputs(root), outputs, grid, config, preparation="5-core.")
    return out


def row_of(table: Table, *start: str) -> dict[str, str]:
    """The texts of the only row that begins with `start`, by column."""
    found = [row for row in table.rows if list(row[: len(start)]) == list(start)]
    assert len(found) == 1
    texts = [entry if isinstance(entry, str) else entry.text for entry in found[0]]
    return dict(zip(table.columns, texts, strict=True))


def test_means_over_users_and_seeds_are_those_of_the_ranks(root: Path) -> None:
    analysis = analysed(root)
    for cell in cells_of(root).by_key.values():
        ranks = read_ranks(cell.ranks)
        for protocol, negatives in (("full", None), ("sampled_100", 100)):
            seeds = [
                ranking_metrics(higher, ties, ranks.num_candidates, num_negatives=negatives)
                for higher, ties in zip(ranks.num_higher.T, ranks.num_ties.T, strict=True)
            ]
            for metric, value in analysis.metrics(cell, protocol).items():
                assert value == pytest.approx(np.mean([seed[metric] for seed in seeds]))
                assert value == analysis.view(protocol, metric).value(cell)


def test_a_better_model_is_found_better_and_an_equal_one_is_not(root: Path) -> None:
    write_ranks(root, RECG, "IS", "VG", STRENGTH["sem"])
    verdicts = {
        (c.cell.model, c.cell.source, c.cell.target): c
        for c in analysed(root).view("full", "ndcg@10").comparisons("sem")
    }
    better = verdicts[RECG, "VG", "IS"]
    assert (better.verdict, verdicts[RECG, "IS", "VG"].verdict) == ("better", "unclear")
    assert 0 < better.low < better.difference < better.high
    assert better.relative_low < better.relative < better.relative_high


def test_strict_cells_compare_with_strict_rows_and_others_with_all(root: Path) -> None:
    others = {
        (c.cell.source == c.cell.target, str(c.other.model)) for c in analysed(root).comparisons
        if c.against == "training-free"
    }  # fmt: skip
    assert others == {(False, "knn"), (True, "popularity")}


COUNTS = Model("sasrec", "counts")
WITH_COUNTS = Grid(GRID.domains, GRID.sources, GRID.backbones, ("sem", "recg", "counts", "wo_ic"))


@pytest.fixture
def counted(root: Path) -> Path:
    """The same with a far better variant that uses interactions, and an ablation that does too."""
    for source in GRID.sources:
        for target in GRID.domains:
            for model, strength in ((COUNTS, 30.0), (Model("sasrec", "wo_ic"), 25.0)):
                write_ranks(root, model, source, target, strength, target_interactions_used=True)
    return root


def test_a_zero_shot_model_that_uses_interactions_stands_apart(counted: Path) -> None:
    analysis = analysed(counted, WITH_COUNTS)
    against = {
        (c.against, str(c.other.model)) for c in analysis.comparisons
        if c.cell.model == COUNTS and c.cell.source != c.cell.target
    }  # fmt: skip
    assert against == {("training-free", "popularity")}
    strict, using = comparison_tables(analysis, "full", zero_shot=True)
    assert "sasrec-counts" not in strict.columns
    assert "sasrec-sem" not in using.columns
    without, using_counts, _ = advice(analysis)
    assert "nobody trained on, without reading its interactions: use `sasrec-recg`" in without
    assert "may be read: use `sasrec-counts`" in using_counts


def test_what_histories_hold_of_the_future_is_said(counted: Path) -> None:
    cells = cells_of(counted, WITH_COUNTS)
    (said,) = of_later_events({"IS": {"later_share": 0.486}, "VG": {"later_share": None}}, cells)
    assert "(`IS` 48.6 %, `VG` 0.0 % of all events, on average)" in said
    assert not of_later_events({"IS": {"later_share": 0.0}}, cells)


def test_nothing_is_said_of_the_future_where_no_row_reads_histories(root: Path) -> None:
    without = {name: cell for name, cell in cells_of(root).by_key.items() if cell.trained}
    cells = dataclasses.replace(cells_of(root), by_key=without)
    assert not of_later_events({"IS": {"later_share": 0.5}}, cells)


def test_no_table_lets_a_row_with_interactions_compete_with_one_without(counted: Path) -> None:
    """`counts`, `wo_ic` and `popularity` would win everywhere: what uses none is best all the same.

    Only the calibration counts all pairs, since it asks about the protocols.
    """
    cells = cells_of(counted, WITH_COUNTS)
    used = {c: c.saw.target_interactions_used for c in cells.by_key.values()}
    analysis = analysed(counted, WITH_COUNTS)
    for c in analysis.comparisons:
        assert used[c.cell] or not used[c.other]
        if c.against == "sem":
            assert used[c.cell] == used[c.other]
    for part in analysis.slices:
        if (part.source, part.target) == ("IS", "VG"):
            assert {str(c.model) for c in part.values} == {"sasrec-sem", "sasrec-recg", "knn"}
    strict, using = comparison_tables(analysis, "full", zero_shot=True)
    assert bold_of(strict) == {"sasrec-recg"}
    assert bold_of(using) <= {"sasrec-counts", "Best training-free"}
    assert {row[-1].note for row in strict.rows if isinstance(row[-1], Number)} == {"knn"}
    averages = averages_table(analysis, zero_shot=True)
    assert averages is not None
    assert bold_rows(averages, "Full NDCG@10", name=0) == {"sasrec-recg", "sasrec-counts†"}
    free = training_free_table(analysis, "full")
    assert bold_rows(free, "NDCG@10", name=2) == {"knn", "popularity†"}
    six = ablation_table(analysis, "full")
    assert six is not None
    assert {row[2] for row in six.rows} == {"recg", "sem"}
    slices = slices_table(analysis, zero_shot=True)
    assert "sasrec-counts" not in slices.columns


def test_a_row_that_large_targets_are_without_is_in_no_mean(root: Path) -> None:
    """Its mean would be of other pairs than those that it is compared with."""
    write_ranks(root, Model(None, "ease"), NO_SOURCE, "IS", 30.0, target_interactions_used=True)
    analysis = analysed(root)
    free = training_free_table(analysis, "full")
    assert {row[0] for row in free.rows if row[2] == "ease†"} == {"IS"}
    assert "VG has no `ease`, which is therefore in no mean over pairs" in free.caption
    averages = averages_table(analysis, zero_shot=True)
    assert averages is not None
    assert not any("ease" in str(row) for row in averages.rows)
    summary = build_summary(analysis)
    assert "mean_zero_shot" in summary["popularity"]
    assert set(summary["ease"]) == {"to_IS"}
    assert "VG has no `ease`" in (write(root) / "report.md").read_text()


def test_the_heat_map_is_darkest_at_the_best_of_those_that_compete(counted: Path) -> None:
    table = heatmap_table(analysed(counted, WITH_COUNTS), "full")
    shades = {
        str(row[0]): [entry.shade for entry in row[1:] if isinstance(entry, Number)]
        for row in table.rows
    }
    zero_shot, in_domain = slice(0, 2), slice(2, 4)
    assert shades["sasrec-recg"][zero_shot] == [1.0, 1.0]
    assert max(shades["best training-free"][zero_shot]) < 1
    assert max(shades["sasrec-recg"][in_domain]) < 1
    assert max(shades["sasrec-counts†"]) == 1.0


SLICED = ("history_length", "popularity", "head", "source_similarity")


def bold_of(table: Table) -> set[str]:
    """The columns that have a bold number."""
    return {
        column
        for row in table.rows
        for column, entry in zip(table.columns, row, strict=True)
        if isinstance(entry, Number) and entry.bold
    }


def bold_rows(table: Table, column: str, name: int) -> set[str]:
    """The names of the rows whose number in `column` is bold."""
    place = table.columns.index(column)
    bold = [row for row in table.rows if isinstance(row[place], Number) and row[place].bold]
    return {str(row[name]) for row in bold}


def test_table_4_has_the_paper_beside_ours_under_its_protocol_alone(root: Path) -> None:
    analysis = analysed(root)
    (table,) = comparison_tables(analysis, "sampled_100", zero_shot=True)
    assert table.columns[3:] == (
        "sasrec-sem", "paper", "sasrec-recg", "paper", "Impr.", "Best training-free",
    )  # fmt: skip
    row = next(r for r in table.rows if r[:3] == ("IS", "VG", "NDCG@10"))
    assert [row[4], row[6]] == [Number(16.51), Number(18.32)]
    assert isinstance(row[5], Number)
    assert row[5].bold
    assert "▲" in row[5].marks
    (table,) = comparison_tables(analysis, "full", zero_shot=True)
    assert "paper" not in table.columns
    assert row_of(table, "IS", "VG", "Recall@10")["Impr."].endswith("%*")


def test_published_figures_are_the_papers() -> None:
    assert published(Model("gru4rec", "recg"), "VG", "IS", "recall@5") == 17.25
    assert published(Model("bert4rec", "id"), "MI", "MI", "ndcg@20") == 31.88
    assert published(Model("bert4rec", "wo_id"), "IS", "VG", "recall@10") == 28.26
    assert published(Model("gru4rec", "sem"), "IS", "VG", "recall@5") is None  # lost in the text
    assert published(Model("gru4rec", "sem"), "IS", "books", "recall@5") is None


def test_a_row_that_is_no_better_without_training_is_what_is_advised(root: Path) -> None:
    """From better to level to worse, the advice follows the numbers."""
    assert "use `sasrec-recg` (" in advice(analysed(root))[0]
    for model in (SEM, RECG):
        for source, target in (("IS", "VG"), ("VG", "IS")):
            write_ranks(root, model, source, target, STRENGTH["knn"])
    assert "`knn` (" in advice(analysed(root))[0]
    assert "which needs no training, are level" in advice(analysed(root))[0]
    for model in (SEM, RECG):
        for source, target in (("IS", "VG"), ("VG", "IS")):
            write_ranks(root, model, source, target, 1.0)
    said = advice(analysed(root))[0]
    assert "use `knn` (" in said
    assert "above the best training-free row of the target in 0 of 2 pairs, below in 2" in said


def test_what_a_variant_gains_is_a_ratio_of_means_and_a_mean_of_ratios_by_hand(root: Path) -> None:
    """Recall@10 of `sem` .1 and .4, of `recg` .3 and .6: .9 / .5 - 1, and the mean of 2 and .5."""
    for source, target, sem, recg in (("IS", "VG", 0.1, 0.3), ("VG", "IS", 0.4, 0.6)):
        write_hits(root, SEM, source, target, sem)
        write_hits(root, RECG, source, target, recg)
    config = dataclasses.replace(CONFIG, ks=(1,), headline_k=1)
    analysis = analyse(cells_of(root), root / "slices", config)
    (said,) = gains(analysis)
    found = re.search(r"`recg`: \+(\S+) % \(.*?\) and \+(\S+) % by full ranking", said)
    assert found is not None
    assert found.groups() == ("80.0", "125.0")


def test_a_pair_counts_once_where_no_backbone_ranks(root: Path) -> None:
    """Three backbones on two pairs: six cells of `recg`, two pairs of a row that has none at work;
    above where all backbones are, and so not on VG, where one is level."""
    backbones = ("gru4rec", "sasrec", "bert4rec")
    grid = Grid(GRID.domains, GRID.sources, backbones, ("recg", "anchored"))
    for backbone, (source, target) in itertools.product(backbones, WITHIN_AND_ACROSS):
        for variant in grid.variants:
            level = (variant, backbone, target) == ("anchored", "bert4rec", "VG")
            place = write_hits(
                root, Model(backbone, variant), source, target, 0.5 if level else 0.9
            )
            if variant == "anchored":
                certificate = read_sealed_json(place, "") | {"backbone_ranks": False}
                write_sealed_json(place, certificate)
    for target in GRID.domains:
        for row in ("random", "knn"):
            write_hits(root, Model(None, row), NO_SOURCE, target, 0.5 if row == "knn" else 0.1)
    (said,) = rivalry(analysed(root, grid))
    assert "`recg` above in 6 and below in 0 of 6 cells (2 pairs with 3 backbones)" in said
    assert "`anchored` above in 1 and below in 0 of 2 pairs (each counts once" in said
    alone = dataclasses.replace(grid, backbones=("sasrec",))
    (said,) = rivalry(analysed(root, alone))
    assert "`anchored` above in 2 and below in 0 of 2 pairs." in said


WITHIN_AND_ACROSS = list(itertools.product(GRID.sources, GRID.domains))


def write_hits(root: Path, model: Model, source: str, target: str, share: float) -> Path:
    """A cell in which that share of the users finds the item first; its certificate."""
    write_ranks(root, model, source, target, 1.0)
    place = place_of(root, model, source, target)
    ranks = read_ranks(place.with_suffix(".parquet"))
    first = np.arange(USERS) < share * USERS
    higher = np.where(first[:, None], 0, 200).astype(np.int32) + 0 * ranks.num_higher
    table = dataclasses.replace(ranks, num_higher=higher.astype(np.int32))
    RANKS.write(table.to_frame(), place.with_suffix(".parquet"))
    return place.with_suffix(".json")


def test_rows_are_described_by_their_certificates(root: Path) -> None:
    rows = dict(rows_table(analysed(root)).rows)
    assert rows["recg"] == "What recg does."
    assert rows["popularity†"] == "What popularity does."
    assert set(rows) == {"id", "sem", "recg", "random", "knn", "popularity†"}


def test_the_picture_has_every_row_and_the_level_without_training(root: Path) -> None:
    found = levels(analysed(root))
    assert found is not None
    for drawing, metric in zip(found.drawings, ("recall@10", "ndcg@10"), strict=True):
        names = re.findall(r'text-anchor="end">([^<]+)<', drawing.svg)
        assert names[-1] == "popularity†"
        assert set(names) == {"sasrec-sem", "sasrec-recg", "knn", "random", "popularity†"}
        places = dict(
            zip(names, map(float, re.findall(r'cx="([\d.]+)"', drawing.svg)), strict=True)
        )
        (level,) = re.findall(r'class="level" x1="([\d.]+)"', drawing.svg)
        assert float(level) == places["knn"]
        view = analysed(root).view("full", metric)
        means = {
            str(model): view.average(cells_of(root).counted(model, zero_shot=True))[0]
            for model in (RECG, SEM, Model(None, "knn"))
        }
        # Places grow with the values, and in proportion.
        one, two, three = sorted(means, key=lambda name: means[name])
        share = (means[two] - means[one]) / (means[three] - means[one])
        drawn = (places[two] - places[one]) / (places[three] - places[one])
        assert drawn == pytest.approx(share, abs=0.01)


def test_recommendations_stand_beside_histories_and_ranks(root: Path) -> None:
    section = examples_section(analysed(root), root / "domains")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.columns == ("User", "Place", "History", "sasrec-recg from VG", "knn")
    first = row_of(table, "0", "1")
    assert first["History"] == "Lamp 7"
    assert first["sasrec-recg from VG"] == first["knn"] == "✓ Lamp 8"
    assert row_of(table, "0", "2")["knn"] == "Lamp 9"
    assert row_of(table, "5", "5")["History"] == "Lamp 8"
    ranks = read_ranks(cell_of(root, RECG, "VG", "IS").ranks)
    expected = f"rank {ranks.num_higher[5, 0] + 1} of 293"
    assert row_of(table, "5", "next")["sasrec-recg from VG"] == expected
    assert row_of(table, "5", "next")["History"] == "Lamp 13"


def test_titles_are_shown_as_they_stand_and_cut_where_they_are_long(root: Path) -> None:
    for path in (root / "ranks").rglob("*.json"):
        items = [{"user": 0, "items": [1, 2]}]
        write_sealed_json(path, {**read_sealed_json(path, ""), "examples": items})
    out = write(root)
    assert '<td class="text">&lt;b&gt;Lamp&lt;/b&gt;</td>' in (out / "report.html").read_text()
    assert "&lt;b>Lamp&lt;/b>" in (out / "report.md").read_text()
    assert "long " * 13 + "long…" in (out / "report.md").read_text()


def test_recommendations_to_a_user_who_is_not_there_are_refused(root: Path) -> None:
    path = root / "domains" / "IS" / "sequences.parquet"
    SEQUENCES.write(SEQUENCES.read(path).head(4), path)
    with pytest.raises(UserError, match=r"IS: has no test user 5, .*run the evaluate"):
        examples_section(analysed(root), root / "domains")


def test_ablation_stands_in_table_6_alone(root: Path) -> None:
    grid = Grid(GRID.domains, GRID.sources, GRID.backbones, ("sem", "recg", "wo_ig"))
    for source in GRID.sources:
        for target in GRID.domains:
            write_ranks(root, Model("sasrec", "wo_ig"), source, target, 4.0)
    analysis = analysed(root, grid)
    (four,) = comparison_tables(analysis, "full", zero_shot=True)
    assert not [column for column in four.columns if "wo_ig" in column]
    six = ablation_table(analysis, "full")
    assert six is not None
    assert [row[2] for row in six.rows if row[0] == "IS"] == ["recg", "wo_ig", "sem"]
    assert row_of(six, "IS", "sasrec", "recg")["IS NDCG@10"] == "-"


def test_the_ablation_of_either_reading_stands_below_it(root: Path) -> None:
    """Both beside what the paper prints for the one method that they read."""
    rows = ("sem", "recg", "recg_printed", "printed_wo_ig", "wo_ig")
    grid = Grid(GRID.domains, GRID.sources, GRID.backbones, rows)
    for variant, strength in (("recg_printed", 3.0), ("printed_wo_ig", 2.0), ("wo_ig", 4.0)):
        for source, target in itertools.product(GRID.sources, GRID.domains):
            write_ranks(root, Model("sasrec", variant), source, target, strength)
    six = ablation_table(analysed(root, grid), "full")
    assert six is not None
    shown = ["recg", "wo_ig", "recg_printed", "printed_wo_ig", "sem"]
    assert [row[2] for row in six.rows if row[0] == "IS"] == shown
    for pair in (("recg", "recg_printed"), ("wo_ig", "printed_wo_ig")):
        papers, same = (published(Model("bert4rec", v), "IS", "VG", "recall@10") for v in pair)
        assert papers == same is not None


APART = dataclasses.replace(CONFIG, drop_overlap_users=True)


def test_dropped_users_are_in_no_number_of_any_row(root: Path) -> None:
    """The first 100 users of each domain are also in the other; means are those of the 300 others,
    by hand, and the report says so."""
    share_users(root, 100)
    out = write(root, config=APART)
    for cell in cells_of(root).by_key.values():
        expected = (read_ranks(cell.ranks).num_higher[100:] < 5).mean()
        folder = metrics_folder(cell.source, cell.target)
        found = json.loads((root / "results/full" / folder / f"{cell.model}.json").read_text())
        assert found["recall@5"] == pytest.approx(expected)
    page = (out / "report.md").read_text()
    assert "left out, in every row: 100 of 400 on `IS`, 100 of 400 on `VG`" in page
    with (out / "tables" / "certificates.csv").open() as stream:
        assert {row["Users"] for row in csv.DictReader(stream)} == {"300"}
    with (out / "tables" / "slices_zero_shot.csv").open() as stream:
        halves = [int(row["Users"]) for row in csv.DictReader(stream) if "ead" in row["Slice"]]
    assert sum(halves) == 300 * len(GRID.pairs(zero_shot=True))
    assert not (out / "tables" / "examples_IS.csv").exists()  # both examples were of such users


def share_users(root: Path, number: int) -> None:
    """Only the first users of the domains have ids in common."""
    for domain in GRID.domains:
        path = root / "domains" / domain / "sequences.parquet"
        ids = [f"u{n}" if n < number else f"{domain}-u{n}" for n in range(USERS)]
        SEQUENCES.write(SEQUENCES.read(path).with_columns(pl.Series("user_id", ids)), path)


def test_users_of_a_target_are_looked_for_in_every_domain_of_a_joint_source(root: Path) -> None:
    """IS+VG is in-domain for both; each target's users are looked for in the other."""
    share_users(root, 150)
    grid = Grid(GRID.domains, ("IS+VG",), GRID.backbones, ("sem",))
    for target in GRID.domains:
        write_ranks(root, SEM, "IS+VG", target, 2.0)
    kept = without_overlap(cells_of(root, grid), root / "domains").users
    assert kept is not None
    assert list(kept) == list(GRID.domains)
    assert all(users.tolist() == list(range(150, USERS)) for users in kept.values())


def test_dropping_every_user_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"all test users of IS are also in \['VG'\]"):
        write(root, config=APART)


def test_verdicts_name_interval_and_both_corrected_tests(root: Path) -> None:
    row = row_of(verdict_table(analysed(root), "full", "sem"), "VG", "IS", "sasrec-recg")
    assert row["Verdict"] == "better"
    assert float(row["p (t)"]) < 0.05
    assert float(row["p (Wilcoxon)"]) < 0.05
    assert float(row["SD over seeds"]) > 0


def test_slices_weigh_up_to_the_whole(root: Path) -> None:
    analysis = analysed(root)
    parts = [part for part in analysis.slices if (part.source, part.target) == ("IS", "VG")]
    cell = cell_of(root, RECG, "IS", "VG")
    whole = analysis.view("full", "ndcg@10").value(cell)
    for attribute in SLICED:
        chosen = [part for part in parts if part.attribute == attribute]
        assert sum(part.num_users for part in chosen) == USERS
        total = sum(part.num_users * part.values[cell] for part in chosen)
        assert total / USERS == pytest.approx(whole)


def test_a_pair_that_the_protocols_order_differently_is_found(root: Path) -> None:
    """A steady rank 15 of 293 never enters the ten; against 100 negatives it nearly always does."""
    path = cell_of(root, SEM, "IS", "VG").ranks
    old = read_ranks(path)
    steady = SeedRanks(
        old.users, old.seeds, old.num_candidates, np.full_like(old.num_higher, 15), old.num_ties
    )
    RANKS.write(steady.to_frame(), path)
    found = reversals(analysed(root), "VG")
    pairs = {(str(r.one.model), str(r.other.model)): r for r in found}
    assert ("sasrec-sem", "knn") not in pairs
    weak = pairs["sasrec-sem", "random"]
    assert weak.full < 0 < weak.sampled
    assert weak.clear


def test_summary_holds_cells_and_means(root: Path) -> None:
    analysis = analysed(root)
    summary = build_summary(analysis)
    cells = [summary["sasrec-sem"][name]["full"]["ndcg@10"] for name in ("IS_to_VG", "VG_to_IS")]
    assert summary["sasrec-sem"]["mean_zero_shot"]["full"]["ndcg@10"] == pytest.approx(
        np.mean(cells)
    )
    assert "mean_zero_shot" not in summary["sasrec-id"]
    assert not summary["sasrec-sem"]["IS_to_VG"]["target_interactions_used"]
    assert summary["sasrec-sem"]["IS_to_IS"]["target_interactions_used"]
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
    with (out / "tables" / "table5_sasrec_full.csv").open(encoding="utf-8") as stream:
        row = next(r for r in csv.DictReader(stream) if r["Metric"] == "NDCG@10")
    assert f"{row['sasrec-id']}†" in text
    latex = (out / "tables" / "table5_sasrec_full.tex").read_text(encoding="utf-8")
    assert row["sasrec-id"] in latex
    assert latex.count(r"\\") == 1 + 2 * 6
    assert "_" not in re.sub(r"\\_", "", latex.split("\\begin", 1)[1])
    assert (out / "tables" / "comparisons.csv").read_text().count("\n") > 50


def test_the_same_inputs_give_the_same_bytes(root: Path) -> None:
    first = bytes_below(write(root).parent)
    assert bytes_below(write(root).parent) == first


def test_the_report_names_no_revision_and_no_version(root: Path) -> None:
    """Equal ranks make an equal report, whatever commit and libraries they are read with."""
    out = write(root)
    for name in ("report.md", "report.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert not re.search(r"revision|\bgit\b|Python \d|torch \d|\b[0-9a-f]{12}\b", text)


def test_every_cell_has_a_json_of_nothing_but_metrics_under_each_protocol(root: Path) -> None:
    results = write(root, config=ReportConfig((3, 10), num_negatives=50, num_resamples=2)).parent
    cells = {
        "IS-VG/sasrec-sem": cell_of(root, SEM, "IS", "VG"),
        "IS-IS/sasrec-id": cell_of(root, ID, "IS", "IS"),
        "VG/knn": cell_of(root, Model(None, "knn"), NO_SOURCE, "VG"),
    }
    for protocol, negatives in (("full", None), ("sampled", 50)):
        written = [p.relative_to(results / protocol) for p in (results / protocol).rglob("*.json")]
        assert len(written) == len(cells_of(root).by_key)
        for name, cell in cells.items():
            content = json.loads((results / protocol / f"{name}.json").read_text())
            ranks = read_ranks(cell.ranks)
            expected = [
                ranking_metrics(higher, ties, ranks.num_candidates, (3, 10), negatives)
                for higher, ties in zip(ranks.num_higher.T, ranks.num_ties.T, strict=True)
            ]
            assert set(content) == {"recall@3", "ndcg@3", "recall@10", "ndcg@10"}
            for metric, value in content.items():
                assert value == pytest.approx(np.mean([seed[metric] for seed in expected]))


def test_files_of_an_earlier_grid_go(root: Path) -> None:
    results = write(root).parent
    small = Grid(("IS", "VG"), ("IS",), ("sasrec",), ("sem",))
    write(root, small)
    left = {str(p.relative_to(results / "full")) for p in (results / "full").rglob("*.json")}
    free = {f"{target}/{row}.json" for target in small.domains for row in STRENGTH
            if row in ("random", "knn", "popularity")}  # fmt: skip
    assert left == {"IS-IS/sasrec-sem.json", "IS-VG/sasrec-sem.json"} | free
    assert not list((results / "report" / "tables").glob("verdicts_sem*"))
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_a_folder_of_other_content_is_not_replaced(root: Path) -> None:
    notes = root / "results" / "sampled" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(UserError, match=r"sampled: would be replaced, but holds notes\.txt"):
        write(root)
    assert notes.read_text() == "mine"


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
    clean = build_summary(analysed(root))
    write_ranks(root, Model("gru4rec", "sem"), "IS", "VG", 50.0)
    write_ranks(root, ID, "IS", "VG", 50.0)
    write_ranks(root, Model(None, "knn"), NO_SOURCE, "films", 50.0)
    assert build_summary(analysed(root)) == clean


def test_missing_inputs_name_the_stage_to_run(root: Path) -> None:
    (root / "slices" / "IS_to_VG.parquet").unlink()
    with pytest.raises(UserError, match=r"IS_to_VG.parquet: no such file; run the slices stage"):
        analysed(root)
    knn = place_of(root, Model(None, "knn"), NO_SOURCE, "VG")
    knn.with_suffix(".parquet").unlink()
    with pytest.raises(UserError, match=r"knn_to_VG.parquet: no such file"):
        analysed(root)
    knn.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="run the baselines stage"):
        cells_of(root)
    place_of(root, RECG, "IS", "VG").with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"sasrec-recg IS_to_VG; run the evaluate stage"):
        cells_of(root)


def test_a_json_that_is_no_certificate_is_named(root: Path) -> None:
    path = place_of(root, SEM, "IS", "VG").with_suffix(".json")
    content = read_sealed_json(path, "")
    del content["saw"]["target_interactions_used"]
    write_sealed_json(path, content)
    expected = r"IS_to_VG\.json\.saw: missing key\(s\) \['target_interactions_used'\]"
    with pytest.raises(UserError, match=expected):
        cells_of(root)


def test_ranks_of_other_users_are_refused(root: Path) -> None:
    path = cell_of(root, RECG, "IS", "VG").ranks
    RANKS.write(RANKS.read(path).head(USERS - 1), path)
    with pytest.raises(UserError, match=r"different users \(400 and 399\)"):
        analysed(root)


def test_a_cell_twice_is_an_error(root: Path) -> None:
    path = place_of(root, SEM, "IS", "VG").with_suffix(".json")
    (root / "ranks" / "copy").mkdir()
    shutil.copy(path, root / "ranks" / "copy")
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
    write_json(tmp_path / "x.json", {**content, "columns": ["a"], "rows": [["b", 1]]})
    with pytest.raises(UserError, match="rows: expected 1 entries in each"):
        load_figures(tmp_path, tmp_path)
    write_json(tmp_path / "x.json", {**content, "columns": ["a"], "rows": [[["b"]]]})
    with pytest.raises(UserError, match=r"rows\[0\]\[0\]: expected str or int or float or null"):
        load_figures(tmp_path, tmp_path)
    assert load_figures(tmp_path / "none", tmp_path) == []


def test_a_drawn_figure_that_was_damaged_is_refused(tmp_path: Path) -> None:
    """What people write by hand has no seal and no digest of its image, and is taken as it is."""
    image = Image("Title", "Caption", "Alt", ["alpha"], [[0.25]])
    write_image(tmp_path, "x", image, b"png")
    assert load_figures(tmp_path, tmp_path)[0].title == "Title"
    (tmp_path / "x.png").write_bytes(b"pmg")
    with pytest.raises(UserError, match=r"x\.png: is damaged, .*run the figures stage"):
        load_figures(tmp_path, tmp_path)
    write_image(tmp_path, "x", image, b"png")
    text = (tmp_path / "x.json").read_text()
    (tmp_path / "x.json").write_text(text.replace("0.25", "0.75"))
    with pytest.raises(UserError, match=r"x\.json: is damaged, .*run the figures stage"):
        load_figures(tmp_path, tmp_path)
    (tmp_path / "x.json").write_text(text.replace('"seal"', '"sell"'))
    with pytest.raises(UserError, match="unknown key"):
        load_figures(tmp_path, tmp_path)


def test_a_curve_of_another_model_or_a_damaged_one_is_refused(root: Path) -> None:
    path = root / "curves" / "sem" / "IS" / "sasrec.csv"
    path.write_bytes(CURVE.replace(b"0.2", b"0.3"))
    with pytest.raises(UserError, match=r"sasrec\.csv: is damaged, .*run the train stage"):
        write(root)


def test_a_certificate_that_would_name_a_file_elsewhere_is_refused(root: Path) -> None:
    path = place_of(root, Model(None, "knn"), NO_SOURCE, "VG").with_suffix(".json")
    write_sealed_json(path, {**read_sealed_json(path, "x"), "variant": "../../knn"})
    with pytest.raises(UserError, match=r"knn_to_VG\.json: '\.\./\.\./knn' is no name"):
        cells_of(root)


def test_how_domains_were_prepared_is_said() -> None:
    section = {"text_rule": "title", "k_core": 5, "split": "temporal"}
    assert "split `temporal`." in preparation(section)
    cuts = {"train_end": "2017-01-01", "test_start": "2017-07-01"}
    said = preparation({**section, "split": cuts, "domains": {"IS": {"k_core": 1}}})
    assert "at 2017-01-01 and 2017-07-01, the same moments for all domains; `IS` with" in said


def test_the_stage_takes_grid_and_cut_offs_from_the_params(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "params.yaml").write_text(
        "grid: {domains: [IS, VG], sources: [IS], backbones: [sasrec], variants: [id, sem]}\n"
        "preprocess: {text_rule: title, k_core: 5, split: leave_one_out}\n"
        "report: {ks: [3], headline_k: 3, num_negatives: 50, num_resamples: 50, seed: 0}\n"
    )
    folders = ("ranks", "slices", "domains", "curves", "figures", "full", "sampled")
    main(
        *map(Path, folders),
        summary=Path("summary.json"),
        heatmap=Path("heatmap.svg"),
        out=Path("out"),
    )
    summary = read_sealed_json(Path("summary.json"), "")
    assert set(summary.pop("metrics_sha256")) == {"full", "sampled"}
    assert set(summary) == {"sasrec-id", "sasrec-sem", "random", "knn", "popularity"}
    assert "IS_to_VG" not in summary["sasrec-id"]
    assert set(summary["knn"]["to_IS"]) == {"full", "sampled_50", "target_interactions_used"}
    assert set(summary["knn"]["to_IS"]["full"]) == {"recall@3", "ndcg@3"}
    assert "text rule `title`" in Path("out/report.md").read_text(encoding="utf-8")
    assert set(json.loads(Path("full/IS-VG/sasrec-sem.json").read_text())) == {"recall@3", "ndcg@3"}
    assert not Path("sampled/IS-VG/sasrec-id.json").exists()


def shrink(root: Path, target: str, users: int = USERS, candidates: int = ITEMS - 7) -> None:
    """Cut a target to its first test users and to a smaller catalogue."""
    for path in (root / "ranks").rglob(f"*_to_{target}.json"):
        certificate = read_sealed_json(path, "x")
        ranks = RANKS.read(path.with_suffix(".parquet")).head(users)
        higher = pl.col("num_higher").list.eval(pl.element().clip(0, candidates - 1))
        small = ranks.with_columns(
            higher, pl.lit(candidates, pl.Int32).alias("num_candidates")
        )  # fmt: skip
        RANKS.write(small, path.with_suffix(".parquet"))
        write_sealed_json(
            path, {**certificate, "num_users": users, "mean_candidates": float(candidates)}
        )
    for path in (root / "slices").glob(f"*_to_{target}.parquet"):
        SLICES.write(SLICES.read(path).head(users), path)


ONE_TARGET = Grid(("IS",), GRID.sources, GRID.backbones, GRID.variants)


@pytest.mark.parametrize("size", [{"users": 29}, {"candidates": 99}])
def test_a_target_that_is_too_small_is_in_no_mean_count_or_correction(
    root: Path, size: dict[str, int]
) -> None:
    shrink(root, "VG", **size)
    analysis, without = analysed(root), analysed(root, ONE_TARGET)
    assert analysis.comparisons == without.comparisons
    assert advice(analysis) == advice(without)
    assert gains(analysis) == gains(without)
    assert rivalry(analysis) == rivalry(without)
    for zero_shot in (True, False):
        assert averages_table(analysis, zero_shot=zero_shot) == averages_table(
            without, zero_shot=zero_shot
        )
    summary, expected = build_summary(analysis), build_summary(without)
    for model, of_model in expected.items():
        assert of_model.items() <= summary[model].items()
    assert summary["sasrec-sem"]["IS_to_VG"]["too_small"] is True
    assert "too_small" not in summary["sasrec-sem"]["VG_to_IS"]
    assert calibration_section(analysis) == calibration_section(without)


@pytest.mark.parametrize("size", [{"users": 30}, {"candidates": 100}])
def test_a_target_that_is_just_large_enough_counts(root: Path, size: dict[str, int]) -> None:
    shrink(root, "VG", **size)
    assert {c.cell.target for c in analysed(root).comparisons} == {"IS", "VG"}
    assert "§" not in (write(root) / "report.md").read_text().split("## Slices")[0]


def test_a_target_that_is_too_small_is_marked_wherever_it_stands(root: Path) -> None:
    shrink(root, "VG", users=7, candidates=7)
    out = write(root)
    for section in (out / "report.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        for table in re.split(r"\n### ", section)[1:]:
            head, *rows = [line for line in table.splitlines() if line.startswith("|")] or [""]
            names = [cell for line in rows for cell in line.split("|")[1:4]]
            marked = any("VG §" in text for text in (head, *names))
            assert marked == ("too small to mean anything" in table)
            assert "Target" not in head or not any(line.startswith("| VG |") for line in rows)
    assert "→ VG §" in (root / "results" / "heatmap.svg").read_text(encoding="utf-8")


def test_where_every_target_is_too_small_the_report_says_so(root: Path) -> None:
    for target in GRID.domains:
        shrink(root, target, users=7, candidates=7)
    text = (write(root) / "report.md").read_text(encoding="utf-8")
    said = "No target has 30 test users and 100 candidates, so that nothing is compared"
    assert text.count(said) == 1
    assert not re.search(r"\bnan\b|better in|[▲▼] \|| Verdict", text.split("## Method")[0])
    assert "mean_zero_shot" not in json.loads((root / "results/summary.json").read_text())["knn"]


def test_fewer_candidates_than_negatives_are_all_of_them(root: Path) -> None:
    shrink(root, "VG", candidates=29)
    analysis = analysed(root)
    text = (write(root) / "report.md").read_text(encoding="utf-8")
    assert "against 100 sampled negatives (all 28 others on `VG`), the paper's protocol" in text
    # What is said of means leaves it out for its size.
    assert "% against 100 negatives)" in advice(analysis)[0]
    more = analyse(cells_of(root), root / "slices", ReportConfig(num_negatives=500))
    assert "% against 500 negatives (all 292 others on `IS`))" in advice(more)[0]


def test_slices_of_few_users_have_no_difference(root: Path) -> None:
    shrink(root, "VG", users=60)  # quarters of 15
    table = slices_table(analysed(root), zero_shot=True)
    for row in table.rows:
        entries = dict(zip(table.columns, row, strict=True))
        few = int(entries["Users"].text.replace(",", "")) < 30
        assert str(entries["Values"]).endswith(" §") == few
        assert (entries["Difference"].text == "-") == (entries["95 % interval"] == "-") == few
    assert any(row[0] == "IS" and not str(row[3]).endswith("§") for row in table.rows)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"num_users": 0, "num_test_users": 0, "num_interactions": 0}, "VG: has no interactions"),
        ({"num_test_users": 0}, "VG: no user has a history and a test item"),
    ],
)
def test_a_domain_without_test_users_is_named_and_left_out(
    root: Path, counts: dict[str, int], said: str
) -> None:
    """A new shop's cells do not exist; its items stand in the table of data sets."""
    stats = root / "domains" / "VG" / "stats.json"
    write_sealed_json(stats, {**read_sealed_json(stats, "x"), **counts})
    for path in (*(root / "ranks").rglob("*_to_VG.*"), *(root / "slices").glob("*_to_VG.parquet")):
        path.unlink()
    if not counts.get("num_users", USERS):
        for path in (root / "ranks").rglob("VG_to_*"):
            path.unlink()
    text = (write(root) / "report.md").read_text(encoding="utf-8")
    assert text.split("## Full ranking")[0].count(said) == 1
    assert ("VG → IS" in text) == ("num_users" not in counts)
    assert "→ VG" not in text
    assert "| VG |" in text.split("## Data")[1]


def test_a_grid_without_any_test_user_is_refused(root: Path) -> None:
    for domain in GRID.domains:
        write_sealed_json(
            root / "domains" / domain / "stats.json", {"num_users": 0, "num_test_users": 0}
        )
    with pytest.raises(UserError, match=r"IS: has no interactions.*; VG: has no interactions"):
        write(root)


def test_what_is_recommended_is_measured_where_lists_are(root: Path) -> None:
    """Every user is recommended the same two items, which 12 users each met in training."""
    place = place_of(root, RECG, "IS", "VG")
    certificate = place.with_suffix(".json")
    write_sealed_json(certificate, read_sealed_json(certificate, "") | {"listed": True})
    lists = {"user_idx": range(USERS), "items": [[9, 10]] * USERS, "diversity": [0.25] * USERS}
    table = pl.DataFrame(lists, schema=LISTS.columns)
    LISTS.write(table, lists_path(place.with_suffix(".parquet")))

    write(root)

    with (root / "results" / "report" / "tables" / "beyond_accuracy.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["Target"], row["Source"], row["Row"]) == ("VG", "IS", "sasrec-recg")
    assert float(row["Coverage@10"]) == pytest.approx(100 * 2 / 24_315, abs=0.01)
    assert float(row["Novelty"]) == pytest.approx(np.log2(USERS / 12), abs=0.01)
    assert float(row["Diversity"]) == 0.25
    assert 0 < float(row["MRR"]) < 100

    LISTS.write(table.head(3), lists_path(place.with_suffix(".parquet")))
    with pytest.raises(UserError, match=r"\.lists: has lists of other users"):
        write(root)
