"""The report's tables and summary from hand-made cells."""

import json
from pathlib import Path
from typing import Any

import pytest

from recg_core.errors import UserError
from recg_core.files import write_json
from recg_core.metrics import metric_names
from recg_core.report import build_report, comparison_table, write_report
from recg_core.results import Grid, build_summary, load_cells
from stages.report import main

GRID = Grid(
    domains=("books", "games"),
    sources=("books", "games"),
    backbones=("sasrec",),
    variants=("id", "sem", "recg"),
    in_domain_only=frozenset({"id"}),
)


def write_cell(
    folder: Path, model: str, source: str, target: str, value: float, **saw: bool
) -> Path:
    """A cell whose metrics are all `value` under full ranking and twice that when sampled."""
    content: dict[str, Any] = {
        "model": model,
        "source": source,
        "target": target,
        "num_seeds": 1,
        "saw": {"target_text_seen": False, "target_interactions_used": source == target, **saw},
        "full": dict.fromkeys(metric_names(), value),
        "sampled_100": dict.fromkeys(metric_names(), 2 * value),
    }
    path = folder / model / f"{source}_to_{target}.json"
    write_json(path, content)
    return path


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """Every cell of GRID; zero-shot sem 0.10 and 0.20, recg 0.15 and 0.18."""
    folder = tmp_path / "metrics"
    for source, target, sem, recg in [
        ("books", "games", 0.10, 0.15),
        ("games", "books", 0.20, 0.18),
    ]:
        write_cell(folder, "sasrec-sem", source, target, sem)
        write_cell(folder, "sasrec-recg", source, target, recg, target_text_seen=True)
    for domain in GRID.domains:
        for variant, value in [("id", 0.3), ("sem", 0.4), ("recg", 0.44)]:
            write_cell(folder, f"sasrec-{variant}", domain, domain, value)
        write_cell(folder, "random", "none", domain, 0.01)
        write_cell(folder, "knn", "none", domain, 0.17)
        write_cell(folder, "popularity", "none", domain, 0.45, target_interactions_used=True)
    return folder


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    for index, domain in enumerate(GRID.domains):
        stats = {
            "num_items": 24_315 + index, "num_users": 900, "num_interactions": 7_236,
            "mean_sequence_length": 8.04,
        }  # fmt: skip
        write_json(tmp_path / "domains" / domain / "stats.json", stats)
    return tmp_path / "domains"


def table_row(table: str, *start: str) -> list[str]:
    """The cells of the only row that begins with `start`."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    found = [row for row in rows if row[: len(start)] == list(start)]
    assert len(found) == 1, f"{len(found)} rows begin with {start}"
    return found[0][len(start) :]


def test_table_4_compares_variants_and_the_best_training_free_row(metrics: Path) -> None:
    cells = load_cells(metrics, GRID)
    table = comparison_table(cells, GRID, "full", zero_shot=True)
    assert table_row(table, "Target") == [
        "Source", "Metric", "sasrec-sem", "sasrec-recg", "Impr.", "Best training-free",
    ]  # fmt: skip
    # popularity is higher still, and uses target interactions: no rival of a zero-shot cell.
    row = table_row(table, "games", "books", "Recall@10")
    assert row == ["10.00", "15.00‡", "+50.00 %", "**17.00** knn"]
    row = table_row(table, "books", "games", "NDCG@5")
    assert row == ["**20.00**", "18.00‡", "-10.00 %", "17.00 knn"]


def test_table_5_has_learned_ids_and_every_training_free_row(metrics: Path) -> None:
    cells = load_cells(metrics, GRID)
    table = comparison_table(cells, GRID, "sampled_100", zero_shot=False)
    row = table_row(table, "games", "NDCG@20")
    assert row == ["60.00†", "80.00†", "88.00†", "+10.00 %", "**90.00**† popularity"]


def test_summary_holds_cells_and_means(metrics: Path) -> None:
    summary = build_summary(load_cells(metrics, GRID), GRID)
    assert summary["sasrec-recg"]["books_to_games"] == {
        "full": {"recall@10": 0.15, "ndcg@10": 0.15},
        "sampled_100": {"recall@10": 0.3, "ndcg@10": 0.3},
    }
    assert summary["sasrec-sem"]["mean_zero_shot"]["full"]["ndcg@10"] == pytest.approx(0.15)
    assert summary["sasrec-sem"]["mean_in_domain"]["full"]["ndcg@10"] == pytest.approx(0.4)
    assert "mean_zero_shot" not in summary["sasrec-id"]
    assert summary["knn"]["to_books"]["sampled_100"]["recall@10"] == pytest.approx(0.34)


def test_means_of_training_free_rows_weigh_targets_as_the_cells_do(tmp_path: Path) -> None:
    grid = Grid(("books", "games", "tools"), ("books",), ("sasrec",), ("sem",))
    for target, value in [("books", 0.9), ("games", 0.2), ("tools", 0.4)]:
        write_cell(tmp_path, "sasrec-sem", "books", target, 0.1)
        write_cell(tmp_path, "knn", "none", target, value)
    summary = build_summary(load_cells(tmp_path, grid), grid)
    assert summary["knn"]["mean_zero_shot"]["full"]["recall@10"] == pytest.approx(0.3)
    assert summary["knn"]["mean_in_domain"]["full"]["recall@10"] == pytest.approx(0.9)


def test_report_has_every_table_under_both_protocols(
    metrics: Path, domains: Path, tmp_path: Path
) -> None:
    write_report(metrics, domains, tmp_path / "out", GRID)
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert table_row(text, "books", "24,315") == ["900", "7,236", "8.04"]
    for title in ("Averages", "Training-free rows", "Table 4", "Table 5"):
        assert text.count(f"### {title}") == 2
    assert "Table 6" not in text
    averages = text.split("### Averages")[1].split("###")[0]
    assert table_row(averages, "popularity†") == ["**45.00**"] * 4
    assert table_row(averages, "sasrec-id") == ["-", "-", "30.00", "30.00"]
    training_free = text.split("### Training-free rows")[1].split("###")[0]
    assert table_row(training_free, "games", "popularity†")[0] == "**45.00**"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == build_summary(load_cells(metrics, GRID), GRID)


def test_ablation_is_table_6_and_stays_out_of_table_4(metrics: Path, domains: Path) -> None:
    for source, target in [("books", "games"), ("games", "books")]:
        write_cell(metrics, "sasrec-wo_ig", source, target, 0.12)
        write_cell(metrics, "sasrec-wo_ig", source, source, 0.41)
    grid = Grid(GRID.domains, GRID.sources, GRID.backbones, ("sem", "recg", "wo_ig"))
    stats = {name: json.loads((domains / name / "stats.json").read_text()) for name in grid.domains}
    text = build_report(load_cells(metrics, grid), grid, stats)
    before, _, ablation = text.split("## The paper's protocol")[0].partition("### Table 6")
    assert "wo_ig" not in before.split("### Table 4")[1]
    # Two columns a target, and `books` is no zero-shot target of itself.
    assert table_row(ablation, "books", "sasrec", "recg") == ["-", "-", "**15.00**", "**15.00**"]
    assert table_row(ablation, "books", "sasrec", "wo_ig") == ["-", "-", "12.00", "12.00"]
    order = [line.split("|")[3].strip() for line in ablation.splitlines() if "| books |" in line]
    assert order == ["recg", "wo_ig", "sem"]


def test_other_runs_do_not_leak_into_the_report(metrics: Path, domains: Path) -> None:
    clean = build_summary(load_cells(metrics, GRID), GRID)
    write_cell(metrics, "gru4rec-sem", "books", "games", 0.99)
    write_cell(metrics, "sasrec-sem", "films", "games", 0.99)
    write_cell(metrics, "knn", "none", "films", 0.99)
    write_cell(metrics, "sasrec-id", "books", "games", 0.99)
    write_json(metrics / "notes.json", {"anything": 1})
    assert build_summary(load_cells(metrics, GRID), GRID) == clean


def test_a_missing_cell_names_itself_and_the_stage(metrics: Path) -> None:
    (metrics / "sasrec-recg" / "books_to_games.json").unlink()
    with pytest.raises(UserError, match=r"sasrec-recg books_to_games; run the evaluate stage"):
        load_cells(metrics, GRID)


@pytest.mark.parametrize("rows", [["knn"], ["knn", "random", "popularity"]])
def test_missing_training_free_rows_name_the_stage(metrics: Path, rows: list[str]) -> None:
    for row in rows:
        (metrics / row / "none_to_games.json").unlink()
    with pytest.raises(UserError, match="run the baselines stage"):
        load_cells(metrics, GRID)


def test_a_cell_twice_or_incomplete_is_an_error(metrics: Path) -> None:
    other = write_cell(metrics / "copy", "sasrec-sem", "books", "games", 0.2)
    with pytest.raises(UserError, match="sasrec-sem books_to_games is there twice"):
        load_cells(metrics, GRID)
    other.unlink()
    write_json(
        metrics / "sasrec-sem" / "books_to_games.json",
        {"model": "sasrec-sem", "source": "books", "target": "games"},
    )
    with pytest.raises(UserError, match="lacks 'num_seeds'"):
        load_cells(metrics, GRID)


def test_the_stage_takes_the_grid_from_the_params(
    metrics: Path, domains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "grid: {domains: [books, games], sources: [books], backbones: [sasrec],"
        " variants: [id, sem]}\n"
        "variants: {id: {items: id}, sem: {items: text}}\n"
    )
    main(metrics, domains, Path("out"))
    summary = json.loads(Path("out/summary.json").read_text())
    assert set(summary) == {"sasrec-id", "sasrec-sem", "random", "knn", "popularity"}
    assert "books_to_games" not in summary["sasrec-id"]
    assert "games_to_books" not in summary["sasrec-sem"]
