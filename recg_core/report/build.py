"""Writing the report: metrics for DVC, tables, a page, one summary."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recg_core.base.files import atomic_path, read_json, write_json
from recg_core.evaluation.slices import ATTRIBUTES
from recg_core.report.analysis import Analysis, analyse
from recg_core.report.cells import REFERENCE, Cells, Grid, load_cells
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.config import ReportConfig
from recg_core.report.curves import curve_drawings
from recg_core.report.figures import load_figures
from recg_core.report.files import metrics_files, replace_files, table_files
from recg_core.report.heatmap import heatmap_svg, heatmap_table
from recg_core.report.layout import Section, Table, markdown
from recg_core.report.page import html
from recg_core.report.paper_tables import ablation_table, comparison_tables, statistics_table
from recg_core.report.per_user import FULL
from recg_core.report.summary import averages_table, build_summary, findings
from recg_core.report.tables import (
    calibration_table,
    certificate_table,
    comparisons_table,
    slices_table,
    training_free_table,
    verdict_table,
)

TITLE = "LLM-RecG: results"


@dataclass(frozen=True)
class Inputs:
    """The folders that a report is made from."""

    ranks: Path  # cells, at any depth: ranks and certificate beside each other
    slices: Path  # `<source>_to_<target>.parquet`
    domains: Path  # `<domain>/stats.json`
    curves: Path  # `<variant>/<source>/<backbone>.csv`; may be missing
    figures: Path  # see `load_figures`; may be missing


@dataclass(frozen=True)
class Outputs:
    """Where a report is written to."""

    report: Path  # `report.md`, `report.html` and `tables/`
    full: Path  # a JSON of metrics for each cell, under full ranking
    sampled: Path  # the same under sampled ranking
    summary: Path  # JSON: the headline metrics of all cells
    heatmap: Path  # SVG


def write_report(
    inputs: Inputs, outputs: Outputs, grid: Grid, config: ReportConfig, *, preparation: str
) -> None:
    """Write the metrics of every cell, the report and, last, its summary.

    Equal inputs give equal bytes.

    Args:
        preparation: how the domains were filtered, in words.

    Raises:
        UserError: when a cell, its ranks, its slices or a `stats.json` is missing or damaged.
    """
    cells = load_cells(inputs.ranks, grid)
    statistics = {name: read_json(inputs.domains / name / "stats.json") for name in grid.domains}
    analysis = analyse(cells, inputs.slices, config)
    out = outputs.report
    sections = [
        *_result_sections(analysis, cells),
        *_other_sections(analysis, cells, inputs, out),
        Section("Data", (), (statistics_table(statistics, preparation),)),
        Section("Certificates", (), (certificate_table(cells),)),
        Section("Method", _method(config)),
    ]
    replace_files(outputs.full, metrics_files(analysis, cells, FULL))
    replace_files(outputs.sampled, metrics_files(analysis, cells, config.protocols.sampled))
    tables = [table for section in sections for table in section.blocks if isinstance(table, Table)]
    every = comparisons_table(analysis)
    replace_files(out / "tables", table_files(tables) | {f"{every.name}.csv": every.csv()})
    heatmap = heatmap_table(analysis, cells, config.protocols.sampled)
    _write(outputs.heatmap, heatmap_svg(heatmap))
    _write(out / "report.md", markdown(TITLE, sections))
    _write(out / "report.html", html(TITLE, sections))
    write_json(outputs.summary, build_summary(analysis, cells))


def _result_sections(analysis: Analysis, cells: Cells) -> Iterator[Section]:
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
        tuple(said for protocol in protocols for said in findings(analysis, cells, protocol)),
        (heatmap_table(analysis, cells, FULL),),
    )
    for protocol, (title, words) in protocols.items():
        yield Section(title, (words,), tuple(_protocol_tables(analysis, cells, protocol)))


def _protocol_tables(analysis: Analysis, cells: Cells, protocol: str) -> Iterator[Table]:
    yield averages_table(analysis, cells, protocol)
    if protocol != FULL:
        yield heatmap_table(analysis, cells, protocol)
    yield from comparison_tables(analysis, cells, protocol, zero_shot=True)
    yield from comparison_tables(analysis, cells, protocol, zero_shot=False)
    if table := ablation_table(analysis, cells, protocol):
        yield table
    yield training_free_table(analysis, cells, protocol)
    for against in (REFERENCE, TRAINING_FREE):
        table = verdict_table(analysis, protocol, against)
        if table.rows:
            yield table


def _other_sections(
    analysis: Analysis, cells: Cells, inputs: Inputs, out: Path
) -> Iterator[Section]:
    slices = [slices_table(analysis, ATTRIBUTES, zero_shot=z) for z in (True, False)]
    yield Section(
        "Slices",
        ("The same ranks on parts of the users: quarters by value, and head and tail.",),
        tuple(table for table in slices if table.rows),
    )
    yield _calibration(analysis)
    if curves := curve_drawings(inputs.curves, cells.grid):
        yield Section("Training curves", (), tuple(curves))
    if figures := load_figures(inputs.figures, out):
        yield Section("Figures", (), tuple(figures))


def _calibration(analysis: Analysis) -> Section:
    table = calibration_table(analysis)
    twos = sum(result.num_twos for result in analysis.targets.values())
    clear = sum(r.clear for result in analysis.targets.values() for r in result.reversals)
    negatives = analysis.config.num_negatives
    said = (
        f"Of {twos:,} pairs of rows with the same source and target, {len(table.rows):,} change "
        f"places between full ranking and {negatives} sampled negatives; in {clear:,} of them both "
        "differences are clear of 0."
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
