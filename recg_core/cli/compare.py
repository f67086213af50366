"""`recg compare`: what changed between the cells of two revisions, and how sure that is."""

from typing import Annotated

import typer

from recg_core.base.errors import UserError


def main(
    rev_a: Annotated[str, typer.Argument(help="Commit, branch, tag, experiment or 'workspace'.")],
    rev_b: Annotated[str, typer.Argument(help="The same, compared with the first.")],
    metric: Annotated[str, typer.Option(help="recall@K or ndcg@K, any K.")] = "ndcg@10",
    protocol: Annotated[str, typer.Option(help="full, or sampled_N for N negatives.")] = "full",
) -> None:
    """Compare the cells of two revisions by their stored ranks, user by user."""
    # DVC and scipy take seconds to import, which `recg --help` need not wait for.
    from recg_core.cli.revisions import open_revision
    from recg_core.report.compare import CompareConfig, changes_table, compare_cells

    before, after = open_revision(rev_a), open_revision(rev_b)
    cells_a, cells_b = before.cells(), after.cells()
    shared = sorted(set(cells_a) & set(cells_b))
    if not shared:
        raise UserError(f"'{rev_a}' and '{rev_b}' have no cell in common")
    config = CompareConfig(metric, protocol)
    typer.echo(f"{metric}, {protocol}; A = {rev_a}, B = {rev_b}; p-values corrected by Holm\n")
    typer.echo(changes_table(compare_cells(shared, before.ranks, after.ranks, config)))
    for revision, cells in ((rev_a, cells_a), (rev_b, cells_b)):
        if only := sorted(set(cells) - set(shared)):
            typer.echo(f"Only in {revision}: {', '.join(only)}")
