"""A model of the pipeline as a bundle, its model card with what the pipeline measured."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from recg_core.base.errors import UserError
from recg_core.base.params import read_params
from recg_core.models.card import ModelCard, read_card
from recg_core.report.cells import Cell, Model, competes, read_cells
from recg_core.report.config import FULL, ReportConfig
from recg_core.report.per_user import measure_target
from recg_core.report.statistics import interval
from recg_core.serving.bundle import UNKNOWN, load_from_pipeline, save_bundle
from recg_core.serving.model_card import CellResult

log = logging.getLogger(__name__)


def export_model(model: Path, out: Path, *, license: str = UNKNOWN) -> None:
    """Write a bundle of `models/<variant>/<source>/<backbone>`, with its results where there are.

    Raises:
        UserError: as `load_from_pipeline` and `save_bundle` do, and when the results are damaged or
            of another model.
    """
    trained, encoder, card = load_from_pipeline(model, device="cpu")
    results = read_results(model)
    if not results:
        log.warning("%s: was evaluated on no other domain; its model card has no results", model)
    card = dataclasses.replace(card, license=license, results=tuple(results))
    save_bundle(out, trained, encoder, card)


def read_results(model: Path) -> list[CellResult]:
    """The zero-shot cells of a model of the pipeline, from `results/ranks`; none without any.

    Intervals, protocols and metrics are those of the report of that pipeline: the `report` section
    of its `params.yaml`.

    Raises:
        UserError: when ranks or certificates are damaged or of another model.
    """
    root = model.resolve().parents[3]
    variant, source, backbone = model.resolve().parts[-3:]
    ranks = root / "results" / "ranks"
    if not ranks.is_dir():
        return []
    config = read_params(root / "params.yaml").build(ReportConfig, "report")
    card, cells = read_card(model), list(read_cells(ranks).values())
    own = [
        cell
        for cell in cells
        if (cell.model, cell.source) == (Model(backbone, variant), source) and not cell.in_domain
    ]
    return [result for cell in own for result in _measured(cell, cells, card, config)]


def _measured(
    cell: Cell, cells: Sequence[Cell], card: ModelCard, config: ReportConfig
) -> list[CellResult]:
    """The headline metrics of a cell under both protocols, beside the best training-free row."""
    certificate = cell.certificate
    if certificate.curve_sha256 != card.curve_sha256:
        raise UserError(
            f"{cell.ranks}: are the ranks of another model than that to export; run the evaluate "
            "stage again"
        )
    used = certificate.saw.target_interactions_used
    free = [
        other
        for other in cells
        if not other.trained
        and other.target == cell.target
        and competes(trained=False, used=other.saw.target_interactions_used, with_interactions=used)
    ]
    if not free:
        raise UserError(
            f"{cell.ranks.parent}: {cell.target} has no training-free rows to compare with; run "
            "the baselines stage"
        )
    measured = measure_target([cell, *free], config)
    results = []
    for column, (protocol, metric) in enumerate(config.columns):
        if metric not in config.headline:
            continue
        best = max(free, key=lambda other: float(measured.means[other][column]))
        low, high = interval(measured.samples[cell][:, column])
        results.append(
            CellResult(
                cell.target,
                certificate.num_users,
                certificate.num_seeds,
                None if protocol == FULL else config.num_negatives,
                metric,
                float(measured.means[cell][column]),
                float(low),
                float(high),
                str(best.model),
                float(measured.means[best][column]),
            )
        )
    return results
