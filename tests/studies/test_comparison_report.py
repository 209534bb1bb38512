"""The figures of comparison: neighbours are most alike, and pairs without a number are left out."""

import numpy as np
import pandas as pd

from suite.studies.comparison.report import SECTION, comparison

MEANS = {("a", "b"): 0.1, ("a", "c"): 0.9, ("b", "c"): 0.2}


def pairs(means: dict[tuple[str, str], float]) -> pd.DataFrame:
    lines = [
        {"model": "m", "metric": "ssim", "method": a, "other_method": b, "mean": mean} for (a, b), mean in means.items()
    ]
    table = pd.DataFrame(lines)
    beside = {"mean_low": table["mean"] - 0.1, "mean_high": table["mean"] + 0.1}
    return table.assign(**beside, unrelated_mean=0.0, unrelated_p95=0.05)


def test_neighbours_in_the_heat_map_are_most_alike() -> None:
    heat, dots = SECTION.plots(pd.DataFrame(), {"comparison": pairs(MEANS)})
    assert (heat.name, dots.name) == ("heatmap-m-ssim", "pairs-m-ssim")
    ax = heat.draw().axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert abs(names.index("a") - names.index("c")) == 1
    cells = np.reshape([float(text.get_text()) for text in ax.texts], (3, 3))
    np.testing.assert_array_equal(cells, cells.T)
    assert cells[names.index("a"), names.index("c")] == 0.9
    assert [text.get_text() for text in dots.draw().axes[0].get_yticklabels()] == ["a · c", "b · c", "a · b"]


def test_a_pair_without_a_number_is_as_far_apart_as_can_be() -> None:
    heat, _ = SECTION.plots(pd.DataFrame(), {"comparison": pairs({("a", "b"): 0.5, ("c", "c"): 1.0, ("b", "c"): 0.5})})
    assert len(heat.draw().axes[0].texts) == 7  # the cell of a and c is empty, twice
    assert not list(SECTION.plots(pd.DataFrame(), {"comparison": pairs({("a", "a"): 1.0, ("a", "b"): np.nan})}))


def test_no_rows_give_no_table() -> None:
    assert comparison(pd.DataFrame({"status": []}), {}).empty
