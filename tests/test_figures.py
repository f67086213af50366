"""Images and their JSON, and the words, numbers and curves that go into them."""

import hashlib
import io
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from recg_core.base.files import read_sealed_json
from recg_core.figures.draw import (
    Image,
    Line,
    LinePanel,
    Scatter,
    draw_lines,
    draw_scatters,
    write_image,
)
from recg_core.figures.sensitivity import (
    MeanOverSeeds,
    Measured,
    best_by_validation,
    describe_sensitivity,
    measure_value,
    over_seeds,
    sensitivity_panels,
)
from recg_core.models.ranking.ranks import SeedRanks


def scatters(seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    panel = Scatter("text", rng.normal(size=(60, 2)), np.repeat([0, 1], 30))
    return draw_scatters([[panel, panel], [None, panel]], ["garden", "office"])


def colors_of(image: bytes) -> set[tuple[int, int, int]]:
    with PIL.Image.open(io.BytesIO(image)) as opened:
        return {color for _, color in opened.convert("RGB").getcolors(1 << 24)}


def test_the_same_drawing_has_the_same_bytes_and_another_has_others() -> None:
    assert scatters() == scatters()
    assert scatters() != scatters(seed=1)


def test_an_image_is_small_and_shows_each_group_in_its_colour() -> None:
    image = scatters()
    assert len(image) < 60_000
    # The blue and the orange of two groups, seven tenths over white.
    for red, green, blue in ((76, 156, 201), (237, 188, 76)):
        nearest = min(abs(r - red) + abs(g - green) + abs(b - blue) for r, g, b in colors_of(image))
        assert nearest < 60


def test_an_interval_is_drawn_where_it_is_known() -> None:
    def drawn(half_widths: list[float]) -> bytes:
        line = Line("garden", [0.01, 0.1], [3.0, 4.0], half_widths)
        return draw_lines([LinePanel("validation", "alpha", "NDCG@10, %", [line])])

    assert drawn([math.nan, math.nan]) != drawn([0.5, 0.5])
    assert drawn([0.5, math.nan]) == drawn([0.5, math.nan])


def test_an_image_is_a_png_and_the_json_that_names_it(tmp_path: Path) -> None:
    image = Image("Title", "Caption", "Alt", ["alpha", "NDCG"], [[0.1, None]])
    write_image(tmp_path, "sweep", image, b"png")
    assert (tmp_path / "sweep.png").read_bytes() == b"png"
    assert read_sealed_json(tmp_path / "sweep.json", "") == {
        "title": "Title", "caption": "Caption", "alt": "Alt", "image": "sweep.png",
        "image_sha256": hashlib.sha256(b"png").hexdigest(),
        "columns": ["alpha", "NDCG"], "rows": [[0.1, None]],
    }  # fmt: skip


def test_an_interval_over_seeds_is_students() -> None:
    """t of 4 degrees of freedom at 97.5 % is 2.776 in the tables; the deviation here is 0.1."""
    found = over_seeds(spread(0.5, 0.1))
    assert found.mean == pytest.approx(0.5)
    assert found.half_width == pytest.approx(2.776 * 0.1 / math.sqrt(5), abs=1e-4)
    assert math.isnan(over_seeds([0.5]).half_width)


def spread(mean: float, deviation: float) -> list[float]:
    """Five seeds of that mean and standard deviation (n - 1)."""
    return [mean + deviation * step * math.sqrt(0.4) for step in (-2, -1, 0, 1, 2)]


def test_recall_and_ndcg_of_each_seed_come_from_the_full_ranks() -> None:
    """The first seed ranks two of four users first, the second one of them at position 3.

    With 100 candidates there are 99 others, so that 100 negatives are all of them.
    """
    higher = np.array([[0, 50], [0, 2], [50, 50], [50, 50]], dtype=np.int32)
    ranks = SeedRanks(
        np.arange(4, dtype=np.int32), np.arange(2, dtype=np.int32),
        np.full(4, 100, dtype=np.int32), higher, np.zeros((4, 2), dtype=np.int32),
    )  # fmt: skip
    found = measure_value(0.1, {"IS": [0.25, 0.75]}, {("IS", "VG"): ranks})
    assert (found.value, found.valid["IS"].mean) == (0.1, 0.5)
    assert found.recall["IS", "VG"] == over_seeds([0.5, 0.25])
    assert found.ndcg["IS", "VG"].mean == pytest.approx((0.5 + 0.25 / 2) / 2)
    assert (found.sampled_recall, found.sampled_ndcg) == (found.recall, found.ndcg)


def measured(value: float, valid: float, test: float, seeds: int = 1) -> Measured:
    """One source, one target; a standard deviation of 1 % with several seeds."""

    def mean(center: float) -> MeanOverSeeds:
        return over_seeds(spread(center, 0.01) if seeds > 1 else [center])

    pair = ("IS", "VG")
    full = {pair: mean(2 * test)}, {pair: mean(test)}
    return Measured(value, {"IS": mean(valid)}, *full, {pair: mean(0.9)}, {pair: mean(3 * test)})


def test_the_sampled_metrics_are_the_papers_protocol_by_hand() -> None:
    """One user, 201 candidates, 20 above the item: how many of the 20 are among 100 negatives drawn
    from 200 is hypergeometric, and fewer than 10 are a hit."""
    ranks = SeedRanks(
        np.zeros(1, dtype=np.int32), np.zeros(1, dtype=np.int32), np.full(1, 201, dtype=np.int32),
        np.full((1, 1), 20, dtype=np.int32), np.zeros((1, 1), dtype=np.int32),
    )  # fmt: skip
    found = measure_value(0.1, {"IS": [0.5]}, {("IS", "VG"): ranks})
    hit = sum(math.comb(20, above) * math.comb(180, 100 - above) for above in range(10))
    assert found.recall["IS", "VG"].mean == 0
    expected = hit / math.comb(200, 100)
    assert found.sampled_recall["IS", "VG"].mean == pytest.approx(expected, abs=1e-6)


def test_the_best_has_the_highest_mean_over_sources() -> None:
    assert (
        best_by_validation([{"a": 0.1, "b": 0.5}, {"a": 0.4, "b": 0.4}, {"a": 0.4, "b": 0.4}]) == 1
    )


def test_the_caption_names_the_value_of_best_validation_not_of_best_test() -> None:
    points = [measured(0.1, valid=0.2, test=0.9), measured(0.01, valid=0.3, test=0.1)]
    assert "alpha = 0.01 is chosen" in describe_sensitivity("alpha", "sasrec-recg", points).caption


def test_the_table_has_a_row_a_value_and_cell_in_percent() -> None:
    points = [measured(0.1, 0.2, 0.3, seeds=5), measured(0.01, 0.25, 0.4, seeds=5)]
    image = describe_sensitivity("alpha", "sasrec-recg", points)
    half = round(100 * 2.776 * 0.01 / math.sqrt(5), 2)
    assert image.rows == [
        [0.01, "IS", "VG", 25.0, half, 80.0, half, 40.0, half, 90.0, half, 120.0, half],
        [0.1, "IS", "VG", 20.0, half, 60.0, half, 30.0, half, 90.0, half, 90.0, half],
    ]
    assert "intervals over seeds" in image.caption
    assert len(image.columns) == len(image.rows[0])


def test_one_seed_has_no_intervals_and_says_so() -> None:
    image = describe_sensitivity("alpha", "sasrec-recg", [measured(0.1, 0.2, 0.3)])
    found = [20.0, None, 60.0, None, 30.0, None, 90.0, None, 90.0, None]
    assert image.rows == [[0.1, "IS", "VG", *found]]
    assert "no intervals" in image.caption


def test_curves_run_over_ascending_values_for_validation_and_each_target() -> None:
    panels = sensitivity_panels("alpha", [measured(0.1, 0.2, 0.3), measured(0.01, 0.25, 0.4)])
    zero_shot = "zero-shot on VG, sampled"
    assert [(panel.title, panel.y_label) for panel in panels] == [
        ("source validation", "NDCG@10, %"), (zero_shot, "Recall@10, %"), (zero_shot, "NDCG@10, %"),
    ]  # fmt: skip
    (line,) = panels[2].lines
    found = (line.label, line.x, [round(y) for y in line.y])
    assert found == ("trained on IS", [0.01, 0.1], [120, 90])
