"""Class visualisation: against the recipe's few literal lines, known answers, and faults on the way."""

import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from suite.config import NetworkConfig
from suite.core.draws import generator_for
from suite.errors import ConfigError, NetworkError
from suite.models.load import wrap
from suite.synthesis import scores
from suite.synthesis.class_visualization import PRESETS, Objective, Recipe, visualize

MEAN, STD, SIDE = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 24


class Smooth(nn.Module):
    """(B, 3, 24, 24) -> (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.head = nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(inplace=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.first(x)).square().mean((2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    body = Smooth().double()
    return wrap(body, NetworkConfig(name="smooth", mean=MEAN, std=STD, input_size=SIDE))


def literal(body: nn.Module, target: int, recipe: Recipe, seed: int) -> Tensor:
    """The assignments' loop, one picture, in normalised space, with scipy's blur; back to pixels."""
    x = torch.randn(3, SIDE, SIDE, generator=generator_for(seed, "", "start")).double()[None]
    draws = generator_for(seed, "", "jitter")
    for t in range(recipe.steps):
        ox, oy = torch.randint(recipe.jitter + 1, (2,), generator=draws).tolist()
        torch.rand(4, generator=draws)
        x = torch.roll(x, (oy, ox), (2, 3)).requires_grad_()
        norm = x.norm()
        (body(x)[0, target] - recipe.l2 * (norm**2 if recipe.penalty == "squared" else norm)).backward()
        step = x.grad / x.grad.norm() if recipe.gradient == "normalised" else x.grad
        x = torch.roll((x + recipe.rate * step).detach(), (-oy, -ox), (2, 3))
        for c in range(3):
            x[:, c].clamp_(-MEAN[c] / STD[c], (1 - MEAN[c]) / STD[c])
        if t % recipe.blur_every == 0:
            for axis in (2, 3):
                x = torch.from_numpy(gaussian_filter1d(x.numpy(), recipe.blur_sigma, axis=axis))
    return (x * torch.tensor(STD).double().view(1, 3, 1, 1) + torch.tensor(MEAN).double().view(1, 3, 1, 1))[0]


def test_presets_are_the_recipes_to_the_letter_and_a_batch_is_each_picture_alone(network) -> None:
    names = ["rdfia", "cs231n", "cs7643"]
    short = {"rdfia": 12, "cs231n": 23, "cs7643": 11}
    recipes = [Recipe(**{**vars(PRESETS[name]), "steps": short[name], "l2": 0.02}) for name in names]
    objectives = [Objective(r, target=k, seed=5 + k) for k, r in enumerate(recipes)]
    together = visualize(network, objectives, snapshots=[11])
    for k, (recipe, objective) in enumerate(zip(recipes, objectives, strict=True)):
        expected = literal(network.body, k, recipe, 5 + k).clamp(0, 1)
        torch.testing.assert_close(together.images[k], expected, rtol=0, atol=1e-6)  # mean and std are float32
        alone = visualize(network, [objective], snapshots=[11])
        torch.testing.assert_close(alone.images[0], together.images[k], rtol=0, atol=1e-10)
        torch.testing.assert_close(alone.snapshots[11][0], together.snapshots[11][k], rtol=0, atol=1e-10)
    assert together.done.tolist() == list(short.values())
    assert together.values.shape == (23, 3)
    assert together.values.isnan().sum(0).tolist() == [11, 0, 12]


def test_presets_differ_as_the_recipes_do() -> None:
    rdfia, cs231n, cs7643 = (PRESETS[name] for name in ("rdfia", "cs231n", "cs7643"))
    assert (rdfia.rate, rdfia.steps, rdfia.penalty, rdfia.gradient) == (5, 200, "plain", "raw")
    assert (cs231n.rate, cs231n.steps, cs231n.penalty, cs231n.gradient) == (25, 100, "squared", "normalised")
    assert cs7643.gradient == "raw"
    assert {(r.l2, r.jitter, r.blur_every, r.blur_sigma) for r in (rdfia, cs231n, cs7643)} == {(1e-3, 16, 10, 0.5)}


def test_modern_recipe_climbs_from_noise_and_from_a_photo(network) -> None:
    recipe = Recipe(**{**vars(PRESETS["modern"]), "steps": 30})
    photo = torch.rand(3, SIDE, SIDE).double() * 0.9 + 0.05
    made = visualize(network, [Objective(recipe, target=0), Objective(recipe, target=0, start=photo)])
    assert (made.values[-1] > made.values[0]).all()
    one_step = visualize(network, [Objective(Recipe(**{**vars(recipe), "steps": 1}), target=0, start=photo)])
    assert (one_step.images[0] - photo).abs().mean() < 0.1


def test_objectives_of_a_layer_are_what_they_say(network) -> None:
    recipe = Recipe(steps=15, rate=1.0, l2=0.0, jitter=0, blur_every=0)
    photo = torch.rand(3, SIDE, SIDE).double()
    objectives = [
        Objective(recipe, layer="first"),
        Objective(recipe, layer="first", channel=2),
        Objective(recipe, layer="first", channel=2, position=(3, 4)),
        Objective(recipe, layer="first", like=photo),
    ]
    made = visualize(network, objectives, snapshots=[14])
    first = network.body.first((made.snapshots[14] - network.mean) / network.std).detach()
    theirs = network.body.first((photo[None] - network.mean) / network.std).detach()[0]
    distance = -(first[3] - theirs).square().sum() / theirs.square().sum()
    expected = torch.stack([first[0].square().mean(), first[1, 2].mean(), first[2, 2, 3, 4], distance])
    torch.testing.assert_close(made.values[-1], expected, rtol=1e-5, atol=1e-6)
    assert (made.values[-1] > made.values[0]).all()
    assert made.confidences.isnan().all()


def test_ascending_the_absolute_gradient_only_ever_brightens(network) -> None:
    recipe = Recipe(steps=20, rate=1.0, l2=0.0, jitter=4, blur_every=0, ascend="saliency")
    right = Recipe(**{**vars(recipe), "ascend": "gradient"})
    grey = torch.full((3, SIDE, SIDE), 0.3)
    made = visualize(network, [Objective(recipe, target=0, start=grey), Objective(right, target=0, start=grey)])
    assert (made.images[0] >= 0.3 - 1e-6).all()
    assert made.images[1].min() < 0.29
    assert made.values[-1, 1] > made.values[-1, 0]


class Trap(Smooth):
    """Its scores are NaN on bright pictures."""

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        return torch.where(x.mean((1, 2, 3))[:, None] > 0.7, torch.nan, scores + x.mean((1, 2, 3))[:, None])


def test_nan_stops_its_picture_keeps_the_last_good_one_and_leaves_the_others_alone() -> None:
    torch.manual_seed(0)
    model = wrap(Trap().double(), NetworkConfig(name="trap", input_size=SIDE))
    recipe = Recipe(steps=20, rate=3.0, l2=0.0, jitter=0, blur_every=0, ascend="saliency")
    slow = Recipe(**{**vars(recipe), "rate": 0.01})
    grey = torch.full((3, SIDE, SIDE), 0.5)
    made = visualize(model, [Objective(recipe, target=0, start=grey), Objective(slow, target=0, start=grey)])
    assert "score is not finite" in made.stopped[0]
    assert made.stopped[1] == ""
    assert made.done.tolist()[1] == 20
    assert 0 < made.done[0] < 20
    assert made.images.isfinite().all()
    assert made.images[0].mean() <= 0.7
    assert made.images[0].mean() > 0.5
    assert scores.seen(model, made.images, torch.tensor([0, 0]))["score"].isfinite().all()
    torch.testing.assert_close(made.images[1:], visualize(model, [Objective(slow, target=0, start=grey)]).images)


def test_a_dead_neuron_says_so(network) -> None:
    with torch.no_grad():
        network.body.first.bias[1] = -1e6
    recipe = Recipe(steps=3, l2=0.0)
    made = visualize(network, [Objective(recipe, layer="act", channel=1), Objective(recipe, layer="act", channel=0)])
    assert "zero at every step" in made.stopped[0]
    assert made.stopped[1] == ""
    assert made.images.isfinite().all()


def test_interrupted_keeps_what_there_is_only_where_asked(network) -> None:
    def stop(ascent) -> None:
        if ascent.step == 3:
            raise KeyboardInterrupt

    objectives = [Objective(Recipe(steps=9), target=1)]
    made = visualize(network, objectives, watch=stop, keep=True)
    assert made.interrupted
    assert torch.equal(made.images, visualize(network, [Objective(Recipe(steps=3), target=1)]).images)
    with pytest.raises(KeyboardInterrupt):
        visualize(network, objectives, watch=stop)


def test_network_is_found_as_it_was_also_after_an_error(network) -> None:
    network.train()
    network.body.first.eval()
    before = [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()]
    with torch.no_grad():
        visualize(network, [Objective(Recipe(steps=2), layer="first")])
        with pytest.raises(ConfigError, match="it has no"):
            visualize(network, [Objective(Recipe(steps=2), layer="first", channel=9)])
    assert before == ([m.training for m in network.modules()], [p.requires_grad for p in network.parameters()])
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("objective", "error", "says"),
    [
        ({"target": 9}, ConfigError, "0..3"),
        ({"target": 1, "layer": "first"}, ConfigError, "one of the two"),
        ({}, ConfigError, "one of the two"),
        ({"layer": "frist"}, NetworkError, "did you mean 'first'"),
        ({"layer": "first", "position": (1, 1)}, ConfigError, "needs a channel"),
    ],
)
def test_what_cannot_be_made_is_one_line(network, objective, error, says) -> None:
    with pytest.raises(error, match=says):
        visualize(network, [Objective(Recipe(), **objective)])


def test_mixed_batches_and_impossible_recipes_are_refused(network) -> None:
    with pytest.raises(ConfigError, match="all of pixels"):
        visualize(network, [Objective(target=0), Objective(PRESETS["modern"], target=0)])
    with pytest.raises(ValueError, match="more than 0"):
        Recipe(rate=0)
