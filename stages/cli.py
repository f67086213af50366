"""The console command `recg`: what is no stage of the pipeline."""

import typer

from stages import check, compare, export, recommend, run_app, search, serve, show, sweep

app = typer.Typer(
    help="Work with the results of the pipeline.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
)  # fmt: skip
app.command("recommend")(recommend.recommend)
app.command("serve")(serve.serve)
app.command("export")(export.export)
app.command("check")(check.main)
app.command("show")(show.main)
app.command("compare")(compare.main)
app.command("sweep")(sweep.sweep)
app.command("search")(search.search)


def main() -> None:
    """Run `recg`."""
    run_app(app)


if __name__ == "__main__":
    main()
