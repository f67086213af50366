"""Where the report writes a cell: in the folders of metrics and in the summary."""

INTERACTIONS_USED = "target_interactions_used"  # key of a cell in the summary


def metrics_folder(source: str | None, target: str) -> str:
    """The folder of a pair's metrics, `IS-VG`, or `VG` for training-free rows, without a source.

    Names are short, since DVC prints the path beside the metrics in every line of its table.
    """
    return target if source is None else f"{source}-{target}"


def pair_of(folder: str) -> tuple[str, str] | None:
    """Source and target of a `metrics_folder`; none for that of training-free rows.

    No domain's name has a hyphen.
    """
    source, hyphen, target = folder.partition("-")
    return (source, target) if hyphen else None


def summary_key(source: str | None, target: str) -> str:
    """A cell's key below its model in the summary, `IS_to_VG`, or `to_VG` without a source."""
    return f"to_{target}" if source is None else f"{source}_to_{target}"
