"""Writing the report: metrics for DVC, tables, a page, one summary."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recg_core.base.errors import UserError
from recg_core.base.files import read_sealed_json, write_bytes, write_sealed_json
from recg_core.base.sources import domains_of
from recg_core.domains.domain import why_untested
from recg_core.report.advice import advice, of_later_events
from recg_core.report.analysis import Analysis, analyse
from recg_core.report.bands import bands_drawing, bands_table
from recg_core.report.beyond import beyond_section
from recg_core.report.calibration import calibration_section
from recg_core.report.cells import (
    METRICS_DIGESTS,
    MIN_USERS,
    REFERENCE,
    SMALL,
    SMALL_MARK,
    Cells,
    Grid,
    load_cells,
    metrics_digest,
)
from recg_core.report.comparisons import TRAINING_FREE
from recg_core.report.config import FULL, ReportConfig
from recg_core.report.contexts import contexts_drawing, contexts_table
from recg_core.report.curves import curves
from recg_core.report.examples import examples_section
from recg_core.report.figures import load_figures
from recg_core.report.files import metrics_files, replace_files, table_files
from recg_core.report.heatmap import heatmap_svg, heatmap_table
from recg_core.report.layout import DRAWINGS, Panels, Section, Table, html, markdown
from recg_core.report.levels import levels
from recg_core.report.overlap import overlap_words, without_overlap
from recg_core.report.paper_tables import ablation_table, comparison_tables, statistics_table
from recg_core.report.statistics import DECIMALS
from recg_core.report.summary import averages_table, build_summary, gains, rivalry, rows_table
from recg_core.report.tables import (
    certificate_table,
    comparisons_table,
    slices_table,
    training_free_table,
    verdict_table,
)
from recg_core.report.wording import fewer_negatives, title_of

TITLE = "LLM-RecG: results"


@dataclass(frozen=True)
class Inputs:
    """The folders that a report is made from."""

    ranks: Path  # cells, at any depth: ranks and certificate beside each other
    slices: Path  # `<source>_to_<target>.parquet`
    domains: Path  # `<domain>/`: `stats.json`, items and sequences
    curves: Path  # `<variant>/<source>/<backbone>.csv`; may be missing
    figures: Path  # see `load_figures`; may be missing


@dataclass(frozen=True)
class Outputs:
    """Where a report is written to."""

    report: Path  # `report.md`, `report.html`, `tables/` and `drawings/`
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
    statistics = {
        name: read_sealed_json(inputs.domains / name / "stats.json", "run the preprocess stage")
        for name in grid.domains
    }
    grid, said = _tested_grid(grid, statistics)
    sizes = {name: int(statistics[name]["num_items"]) for name in grid.domains}
    cells = load_cells(inputs.ranks, grid)
    if config.drop_overlap_users:
        apart = without_overlap(cells, inputs.domains)
        said = (*said, overlap_words(cells, apart))
        cells = apart
    analysis = analyse(cells, inputs.slices, config)
    out = outputs.report
    sections = [
        *_result_sections(analysis, inputs.domains, (*said, *of_later_events(statistics, cells))),
        _slices(analysis),
        _bands(analysis),
        _contexts(analysis),
        beyond_section(cells, inputs.domains, sizes),
        calibration_section(analysis),
        Section("Training curves", (), _present(curves(inputs.curves, cells))),
        Section("Figures", (), tuple(load_figures(inputs.figures, out))),
        Section("Data", (), (statistics_table(statistics, preparation),)),
        Section("Certificates", (), (certificate_table(cells),)),
        Section("Method", _method(config)),
    ]
    sections = [_noted(section) for section in sections if section.paragraphs or section.blocks]
    full, sampled = (metrics_files(analysis, name) for name in (FULL, config.sampled))
    replace_files(outputs.full, full)
    replace_files(outputs.sampled, sampled)
    blocks = [block for section in sections for block in section.blocks]
    tables = [block for block in blocks if isinstance(block, Table)]
    every = comparisons_table(analysis)
    replace_files(out / "tables", table_files(tables) | {f"{every.name}.csv": every.csv()})
    panels = [
        block for section in sections for block in section.blocks if isinstance(block, Panels)
    ]
    drawings = {f"{d.name}.svg": d.standalone() for block in panels for d in block.drawings}
    replace_files(out / DRAWINGS, drawings)
    texts = {
        outputs.heatmap: heatmap_svg(heatmap_table(analysis, config.sampled)),
        out / "report.md": markdown(TITLE, sections),
        out / "report.html": html(TITLE, sections),
    }
    for path, text in texts.items():
        write_bytes(path, text.encode("utf-8"))
    # Metrics have no seal, which DVC would show among them.
    digests = {"full": metrics_digest(full), "sampled": metrics_digest(sampled)}
    write_sealed_json(outputs.summary, build_summary(analysis) | {METRICS_DIGESTS: digests})


def _tested_grid(grid: Grid, statistics: dict[str, dict[str, Any]]) -> tuple[Grid, tuple[str, ...]]:
    """The grid without targets that have no test users, and what is to say of those.

    Raises:
        UserError: when none is left.
    """
    counts = {name: (of["num_users"], of["num_test_users"]) for name, of in statistics.items()}
    untested = {name: said for name in counts if (said := why_untested(name, *counts[name]))}
    domains = tuple(name for name in grid.domains if name not in untested)
    if not domains:
        raise UserError("; ".join(untested.values()))
    sources = tuple(
        source
        for source in grid.sources
        if all(counts.get(domain, (1, 1))[0] for domain in domains_of(source))
    )
    return replace(grid, domains=domains, sources=sources), tuple(untested.values())


def _noted(section: Section) -> Section:
    """The section with a note below every table that has the sign of what is too small."""
    blocks = tuple(
        replace(block, caption=f"{block.caption} {SMALL}")
        if isinstance(block, Table) and block.has(SMALL_MARK)
        else block
        for block in section.blocks
    )
    return replace(section, blocks=blocks)


def _result_sections(analysis: Analysis, domains: Path, said: tuple[str, ...]) -> Iterator[Section]:
    num_negatives = analysis.config.num_negatives
    yield Section(
        "Summary",
        (_question(analysis.cells), *advice(analysis), *gains(analysis), *rivalry(analysis), *said),
        _present(levels(analysis), rows_table(analysis)),
    )
    means = [averages_table(analysis, zero_shot=zero_shot) for zero_shot in (True, False)]
    yield Section("Means", (), _present(*means))
    yield examples_section(analysis, domains)
    protocols = {
        FULL: (
            "Full ranking",
            "The test item among all items outside the user's history; expectation over ties.",
        ),
        analysis.config.sampled: (
            "Sampled ranking",
            f"The test item against {num_negatives} sampled negatives"
            f"{fewer_negatives(analysis.cells, analysis.cells.grid.domains, num_negatives)}, the "
            "paper's protocol, as the exact expectation over samples. Columns `paper`: what the "
            "paper prints for its own domains.",
        ),
    }
    for protocol, (title, words) in protocols.items():
        yield Section(title, (words,), _present(*_protocol_tables(analysis, protocol)))


def _question(cells: Cells) -> str:
    """What was done, in two sentences."""
    grid = cells.grid
    pairs = len(grid.pairs(zero_shot=True))
    return (
        f"Models were trained on {_listed(grid.sources)} and ranked the items of "
        f"{_listed(grid.domains)}: for every test user the item that came next, among others. "
        f"Where it was not trained on that domain ({pairs} pair{'' if pairs == 1 else 's'}) a "
        "model has seen no interaction of it: that is zero-shot."
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _present(*blocks: Table | Panels | None) -> tuple[Table | Panels, ...]:
    """Those that there are, without tables of no rows."""
    return tuple(b for b in blocks if b is not None and not (isinstance(b, Table) and not b.rows))


def _protocol_tables(analysis: Analysis, protocol: str) -> Iterator[Table | None]:
    yield heatmap_table(analysis, protocol)
    for zero_shot in (True, False):
        yield from comparison_tables(analysis, protocol, zero_shot=zero_shot)
    yield ablation_table(analysis, protocol)
    yield training_free_table(analysis, protocol)
    for against in (REFERENCE, TRAINING_FREE):
        yield verdict_table(analysis, protocol, against)


def _slices(analysis: Analysis) -> Section:
    tables = [slices_table(analysis, zero_shot=zero_shot) for zero_shot in (True, False)]
    words = "The same ranks on parts of the users: quarters by value, and head and tail."
    return Section("Slices", (words,), tuple(table for table in tables if table.rows))


def _bands(analysis: Analysis) -> Section:
    metric = analysis.config.headline[1]
    words = (
        "What a domain can expect that nobody trained on, of rows that rank there without any "
        "training: for users with short and long histories, and for items with no events, few and "
        "many in the target's training histories."
    )
    drawings = tuple(d for result in analysis.bands if (d := bands_drawing(result, metric)))
    panels = Panels(
        f"{title_of(metric)} by history and by events of the item",
        f"Rows of trained models and the training-free ones that lead a band; bands of {MIN_USERS} "
        "users or more.",
        drawings,
    )
    tables = [bands_table(result, metric) for result in analysis.bands]
    blocks = (*((panels,) if drawings else ()), *tables)
    return Section("Histories and new items", (words,) if blocks else (), blocks)


def _contexts(analysis: Analysis) -> Section:
    metric = analysis.config.headline[1]
    words = (
        "How many histories of a domain that nobody trained on until they beat texts, until they "
        "beat training: rows that read those of some of its users."
    )
    panels = Panels(
        f"{title_of(metric)} by histories read",
        "With 95 % bootstrap intervals over users. The dashed lines are the best training-free row "
        "that uses no interactions and the best model trained on the target, chosen on the same "
        "users; above is where the interval of the difference is, there and for all larger "
        "numbers.",
        tuple(contexts_drawing(result, metric) for result in analysis.contexts),
    )
    tables = [contexts_table(result, metric) for result in analysis.contexts]
    if not tables:
        return Section("Histories read")
    return Section("Histories read", (words,), (panels, *tables))


def _method(config: ReportConfig) -> tuple[str, ...]:
    return (
        "The unit is a user: a user's metric is the mean over seeds, and rows are compared over "
        "the same users. Intervals and tests therefore speak of other users of the same domain "
        "with these seeds; how much the seeds matter is the standard deviation over seeds, shown "
        "beside them.",
        f"Intervals are percentiles of {config.num_resamples:,} bootstrap resamples of users, the "
        "same draws for all rows of a target. Tests are two-sided: Student's paired t-test and "
        "Wilcoxon's signed-rank test (users without a difference left out), both of differences "
        f"rounded to {DECIMALS} decimals of a fraction, so that none hangs on the order of a sum. "
        "Holm's correction runs over all zero-shot (or all in-domain) cells for one metric, "
        "protocol and opponent.",
        "The best training-free row is chosen for each target and metric on the test users "
        "themselves, which favours it.",
    )
