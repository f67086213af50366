"""Writing the report: everything in `results/report/`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recg_core.base.files import atomic_path, read_json, write_json
from recg_core.evaluation.slices import ATTRIBUTES
from recg_core.report.analysis import TRAINING_FREE, Analysis, ReportConfig, analyse
from recg_core.report.cells import REFERENCE, Cells, Grid, load_cells
from recg_core.report.curves import curve_drawings
from recg_core.report.figures import load_figures
from recg_core.report.heatmap import heatmap_svg, heatmap_table
from recg_core.report.layout import Section, Table, markdown
from recg_core.report.page import html
from recg_core.report.per_user import FULL
from recg_core.report.summary import averages_table, build_summary, findings
from recg_core.report.tables import (
    ablation_table,
    calibration_table,
    certificate_table,
    comparison_tables,
    comparisons_table,
    slices_table,
    statistics_table,
    training_free_table,
    verdict_table,
)

TITLE = "LLM-RecG: results"


@dataclass(frozen=True)
class Inputs:
    """The folders that a report is made from."""

    metrics: Path  # cells, at any depth
    ranks: Path  # their ranks, each at the same place
    slices: Path  # `<source>_to_<target>.parquet`
    domains: Path  # `<domain>/stats.json`
    curves: Path  # `<model>/<source>.csv`; may be missing
    figures: Path  # see `load_figures`; may be missing


def write_report(
    inputs: Inputs, out: Path, grid: Grid, config: ReportConfig, *, revision: str, preparation: str
) -> None:
    """Write `report.md`, `report.html`, `heatmap.svg`, `tables/` and, last, `summary.json`.

    Args:
        revision: the git revision and versions that made the figures, in words.
        preparation: how the domains were filtered, in words.

    Raises:
        UserError: when a cell, its ranks, its slices or a `stats.json` is missing or damaged.
    """
    cells = load_cells(inputs.metrics, inputs.ranks, grid)
    statistics = {name: read_json(inputs.domains / name / "stats.json") for name in grid.domains}
    analysis = analyse(cells, grid, inputs.slices, config)
    sections = [
        *_result_sections(analysis, cells, grid),
        *_other_sections(analysis, cells, grid, inputs, out, statistics, revision, preparation),
    ]
    tables = [table for section in sections for table in section.blocks if isinstance(table, Table)]
    for table in [*tables, comparisons_table(analysis)]:
        _write(out / "tables" / f"{table.name}.csv", table.csv())
    for table in tables:
        _write(out / "tables" / f"{table.name}.tex", table.latex())
    heatmap = heatmap_table(analysis, cells, grid, config.protocols.sampled)
    _write(out / "heatmap.svg", heatmap_svg(heatmap))
    _write(out / "report.md", markdown(TITLE, sections))
    _write(out / "report.html", html(TITLE, revision, sections))
    write_json(out / "summary.json", build_summary(analysis, cells, grid))


def _result_sections(analysis: Analysis, cells: Cells, grid: Grid) -> Iterator[Section]:
    protocols = {
        FULL: (
            "Full ranking",
            "The test item among all items outside the user's history; expectation over ties.",
        ),
        analysis.config.protocols.sampled: (
            "Sampled ranking",
            f"The test item against {analysis.config.num_negatives} sampled negatives, the paper's "
            "protocol, as the exact expectation over samples. Columns `paper`: what the paper "
            "prints for its own domains.",
        ),
    }
    yield Section(
        "Summary",
        tuple(said for protocol in protocols for said in findings(analysis, cells, grid, protocol)),
        (heatmap_table(analysis, cells, grid, FULL),),
    )
    for protocol, (title, words) in protocols.items():
        yield Section(title, (words,), tuple(_protocol_tables(analysis, cells, grid, protocol)))


def _protocol_tables(
    analysis: Analysis, cells: Cells, grid: Grid, protocol: str
) -> Iterator[Table]:
    yield averages_table(analysis, cells, grid, protocol)
    if protocol != FULL:
        yield heatmap_table(analysis, cells, grid, protocol)
    yield from comparison_tables(analysis, cells, grid, protocol, zero_shot=True)
    yield from comparison_tables(analysis, cells, grid, protocol, zero_shot=False)
    if table := ablation_table(analysis, grid, protocol):
        yield table
    yield training_free_table(analysis, cells, grid, protocol)
    for against in (REFERENCE, TRAINING_FREE):
        table = verdict_table(analysis, grid, protocol, against)
        if table.rows:
            yield table


def _other_sections(
    analysis: Analysis,
    cells: Cells,
    grid: Grid,
    inputs: Inputs,
    out: Path,
    statistics: dict[str, dict[str, Any]],
    revision: str,
    preparation: str,
) -> Iterator[Section]:
    slices = [slices_table(analysis, ATTRIBUTES, zero_shot=z) for z in (True, False)]
    yield Section(
        "Slices",
        ("The same ranks on parts of the users: quarters by value, and head and tail.",),
        tuple(table for table in slices if table.rows),
    )
    yield _calibration(analysis)
    if curves := curve_drawings(inputs.curves, grid):
        yield Section("Training curves", (), tuple(curves))
    if figures := load_figures(inputs.figures, out):
        yield Section("Figures", (), tuple(figures))
    yield Section("Data", (), (statistics_table(statistics, preparation),))
    yield Section("Certificates", (revision,), (certificate_table(cells),))
    yield Section("Method", _method(analysis.config))


def _calibration(analysis: Analysis) -> Section:
    table = calibration_table(analysis)
    pairs = sum(result.num_pairs for result in analysis.targets.values())
    clear = sum(r.clear for result in analysis.targets.values() for r in result.reversals)
    said = (
        f"Of {pairs:,} pairs of rows of the same cell, {len(table.rows):,} change places between "
        f"full ranking and {analysis.config.num_negatives} sampled negatives; in {clear:,} of them "
        "both differences are clear of 0."
    )
    return Section("Full against sampled ranking", (said,), (table,) if table.rows else ())


def _method(config: ReportConfig) -> tuple[str, ...]:
    return (
        "The unit is a user: a user's metric is the mean over seeds, and rows are compared over "
        "the same users. Intervals and tests therefore speak of other users of the same domain "
        "with these seeds; how much the seeds matter is the standard deviation over seeds, shown "
        "beside them.",
        f"Intervals are percentiles of {config.num_resamples:,} bootstrap resamples of users, the "
        "same draws for all rows of a target. Tests are two-sided: Student's paired t-test and "
        "Wilcoxon's signed-rank test (users without a difference left out). Holm's correction runs "
        "over all zero-shot (or all in-domain) cells for one metric, protocol and opponent.",
        "The best training-free row is chosen for each target and metric on the test users "
        "themselves, which favours it.",
    )


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
