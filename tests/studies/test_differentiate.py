"""What to differentiate: known answers on networks whose gradients, changes and interactions are known by hand."""

from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor, nn

from suite.config import validate
from suite.core.classes import ClassNames
from suite.core.network import Card, Network
from suite.data.sources import ImageFile
from suite.results import as_table
from suite.studies.base import Work
from suite.studies.differentiate.report import SECTION
from suite.studies.differentiate.study import QUANTITIES, Differentiate


class Linear(nn.Module):
    def __init__(self, scale: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 8 * 8, 4).requires_grad_(False)
        with torch.no_grad():
            self.linear.weight.mul_(scale)
            self.linear.bias[0] = bias

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


class Both(nn.Module):
    """Rises only where the upper left and the upper right quarter are both bright; a photo of two colours."""

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[:, :, :4, :4].mean((1, 2, 3)), x[:, :, :4, 4:].mean((1, 2, 3))
        score = (left + right - 1.5).relu()
        return torch.stack([score, -score], 1)


def work(body: nn.Module, images: Tensor, classes: int, **options: object) -> Work:
    torch.manual_seed(0)
    config = validate({"data": {"batch_size": 4}, "methods": ["gradient"], "studies": {"differentiate": options}})
    card = Card("net", "test", "", tuple(images.shape[2:]), None, ClassNames.indices(classes))
    files = [ImageFile(f"{i}.png", Path(), i % classes, "") for i in range(len(images))]
    count = len(images)
    network = Network(body, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), card)
    return Work(network, {}, images, files, range(count), [""] * count, [], config)


def rows(given: Work) -> pd.DataFrame:
    return as_table(Differentiate().run(given).rows, Differentiate.keys).to_pandas()


def values(found: pd.DataFrame, metric: str, **where: object) -> Tensor:
    for column, value in where.items():
        found = found[found[column] == value]
    return torch.tensor(found[found["metric"] == metric].sort_values("image")["value"].to_numpy(float))


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_linear_score_is_told_by_its_gradient_alone(photos: Tensor) -> None:
    found = rows(work(Linear(), photos, 4))
    assert (found["status"] == "ok").all()
    assert values(found, "linear_error").max() < 1e-2  # rounding of the smallest radius
    assert values(found, "interaction").max() < 1e-4
    for method in ("input_x_gradient", "integrated_gradients"):
        assert values(found, "share_of_change", method=method, example="photo").tolist() == pytest.approx(
            [1] * 4, abs=1e-4
        )
    assert values(found, "relative_norm", method="score").tolist() == [1] * 4
    assert values(found, "other_classes", method="score").tolist() == [0] * 4


def test_norms_and_shares_are_those_of_the_formula(photos: Tensor) -> None:
    """d log p_t = (1 - p_t) (w_t - mean of the others' weights, each by its share of their probability)."""
    body = Linear(scale=4)
    found = rows(work(body, photos, 4))
    weights = body.linear.weight.double()
    p = body.double()(photos.double()).softmax(1)
    for i in range(4):
        others = [k for k in range(4) if k != i]
        mean = (p[i, others, None] * weights[others]).sum(0) / p[i, others].sum()
        own, through = weights[i].norm(), mean.norm()
        norm = (1 - p[i, i]) * (weights[i] - mean).norm() / own
        expected = {"log_probability": norm, "cross_entropy": norm, "probability": p[i, i] * norm, "score": 1.0}
        for name in QUANTITIES:
            assert values(found, "relative_norm", method=name)[i] == pytest.approx(float(expected[name]), rel=1e-4)
        share = values(found, "other_classes", method="probability")[i]
        assert share == pytest.approx(float(through / (own + through)), rel=1e-5)
    for metric, expected_sign in (("spearman", -1), ("spearman_magnitude", 1)):
        alike = values(found, metric, method="log_probability", other_quantity="cross_entropy")
        assert alike.tolist() == pytest.approx([expected_sign] * 4)


def test_a_saturated_softmax_leaves_nothing_and_says_so(photos: Tensor) -> None:
    found = rows(work(Linear(bias=200.0), photos[:1], 4))
    assert values(found, "relative_norm", method="probability").tolist() == [0]
    assert values(found, "relative_norm", method="score").tolist() == [1]
    lost = found[(found["metric"] == "spearman") & (found["other_quantity"] == "probability")]
    assert set(lost["status"]) == {"not_applicable"}
    assert "saturated" in lost["message"].iloc[0]


def test_the_toy_is_flat_and_stands_once_a_network(photos: Tensor) -> None:
    first = work(Linear(), photos, 4)
    toy = rows(first).query("example == 'toy'").set_index("method")["value"]
    assert toy["input_x_gradient"] == 0
    assert toy["integrated_gradients"] == pytest.approx(1, abs=1e-6)
    first.positions = range(4, 8)
    assert rows(first).query("example == 'toy'").empty


def test_an_and_of_two_squares_is_all_interaction() -> None:
    photo = torch.zeros(1, 3, 8, 8)
    photo[:, :, :4] = 1.0  # both upper quarters bright: score 0.5; the mean colour is 0.5, and 1 + 0.5 is not enough
    found = rows(work(Both(), photo, 2, grid=2))
    # whole 0.5, without either upper quarter 0, without both 0; below, nothing counts. The pairs that touch:
    # upper two: |0.5 - 0 - 0 + 0| = 0.5 of 0.5; left and right columns: |0.5 - 0 - 0.5 + 0| = 0 of 0.5; lower: 0 of 0.
    assert values(found, "interaction").item() == pytest.approx(0.5 / 1.5)


def test_random_directions_belong_to_the_photo(photos: Tensor) -> None:
    body = tiny.Net()
    whole = rows(work(body, photos, 4))
    alone = work(body, photos[2:3], 4)
    alone.files, alone.positions = [ImageFile("2.png", Path(), 2, "")], [2]
    single = rows(alone)
    for direction in ("random_signs", "sign_of_gradient"):
        one = values(single, "linear_error", direction=direction)
        torch.testing.assert_close(
            one, values(whole, "linear_error", direction=direction, image="2.png"), rtol=0.05, atol=1e-3
        )


def test_the_cost_is_what_is_spent(photos: Tensor) -> None:
    given = work(Linear(), photos, 4)
    seen = []
    given.scores, given.targets  # shared with other studies  # noqa: B018
    given.model.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    Differentiate().run(given)
    cost = Differentiate().cost({}, given.config)
    assert sum(seen) == cost.forwards * 4 + 1  # and one image that measures the memory of a step


def test_the_verdicts_give_the_answer_with_numbers(photos: Tensor) -> None:
    found = pd.concat([rows(work(Linear(scale=30), photos, 4))])
    tables = SECTION.tables(found, {})
    assert set(tables) == set(SECTION.texts)
    verdicts = tables["differentiate_verdicts"].set_index(["method", "measure"])["verdict"]
    assert verdicts["score", "what to differentiate"] == "own class alone"
    assert "mixes" in verdicts["log_probability", "what to differentiate"]
    assert verdicts["score", "linearity"] == "linear"
    assert verdicts["score", "saturation"] == "does not saturate"
    assert verdicts["score", "interactions"] == "nearly additive"
    assert tables["differentiate_verdicts"]["reason"].str.contains(r"\d").all()
    assert len(list(SECTION.plots(found, tables))) == 3
