"""Draws belong to an image and a purpose, not to a batch."""

import pytest
import torch
from networks import pictures
from scipy.stats import chisquare, kstest
from torch.utils._python_dispatch import TorchDispatchMode

from suite.core.draws import ImageDraws, draws_on_device, generator_for, hashed, image_ids, stream_keys
from suite.core.numerics import Numerics, numerics


def test_draws_are_the_same_however_many_at_a_time():
    x = pictures()

    def drawn(sizes):
        draws = ImageDraws(x, None, 0, "test")
        rounds = [(draws.choice(n, 5), draws.normal(n), draws.uniform(n)) for n in sizes]
        return [torch.cat(kind, 1) for kind in zip(*rounds, strict=True)]

    for one, other in zip(drawn([6]), drawn([1, 2, 3]), strict=True):
        assert torch.equal(one, other)
    choice, normal, uniform = drawn([400])
    assert set(choice.unique().tolist()) == set(range(5))
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01
    assert abs(float(uniform.mean()) - 0.5) < 0.05


def test_ids_are_names_or_digests_of_the_pixels():
    x = pictures(2)
    assert image_ids(x, ["a", "b"]) == ("a", "b")
    first, second = image_ids(x, None)
    assert first != second
    assert tuple(image_ids(x.flip(0), None)) == (second, first)
    assert torch.equal(*(torch.rand(3, generator=generator_for(1, "a", "test")) for _ in range(2)))


def test_parts_draw_as_the_whole():
    x = pictures(5)
    whole = ImageDraws(x, None, 0, "test").normal(2)
    parts = [(at, own.normal(2)) for at, own in ImageDraws(x, None, 0, "test").split(2)]
    assert len(parts) == 3
    assert all(torch.equal(whole[at], drawn) for at, drawn in parts)


KEYS = stream_keys(0, [f"image {i}" for i in range(64)], "test", torch.device("cpu"))


@pytest.fixture
def on_device(monkeypatch):
    """A CPU's tensors are drawn for as a card's are."""
    monkeypatch.setattr("suite.core.draws.draws_on_device", lambda _device: True)


def test_hashed_numbers_have_the_distributions_they_should():
    normal, uniform = (hashed(kind, KEYS, 0, (5000,)).double() for kind in ("normal", "uniform"))
    count = normal.numel()
    for moment, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float(normal.pow(moment).mean()) - expected) < 4 * (variance / count) ** 0.5
    for moment in range(1, 5):
        expected, variance = 1 / (moment + 1), 1 / (2 * moment + 1) - 1 / (moment + 1) ** 2
        assert abs(float(uniform.pow(moment).mean()) - expected) < 4 * (variance / count) ** 0.5
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert kstest(normal.flatten().numpy(), "norm").pvalue > 0.01
    assert kstest(uniform.flatten().numpy(), "uniform").pvalue > 0.01
    chosen = hashed("choice", KEYS, 0, (5000,), among=7)
    assert chosen.dtype == torch.int64
    assert chisquare(chosen.flatten().bincount(minlength=7).numpy()).pvalue > 0.01


def test_hashed_numbers_are_independent_of_their_neighbours_and_of_other_streams():
    for kind in ("normal", "uniform"):
        numbers = hashed(kind, KEYS, 0, (4096,)).double()
        numbers = (numbers - numbers.mean()) / numbers.std()
        limit = 4 / numbers.numel() ** 0.5
        for lag in (1, 2, 3, 16, 224, 1024):
            assert abs(float((numbers[:, lag:] * numbers[:, :-lag]).mean())) < limit * 1.2, lag
        for lag in (1, 2, 7):
            assert abs(float((numbers * numbers.roll(lag, 0)).mean())) < limit, lag
    near = hashed("normal", torch.arange(64), 0, (4096,)).double()  # keys that differ in a bit
    assert abs(float((near * near.roll(1, 0)).mean())) < 4 / near.numel() ** 0.5


def test_hashed_numbers_do_not_depend_on_what_else_is_drawn():
    for kind in ("normal", "uniform", "choice"):
        whole = hashed(kind, KEYS, 0, (6, 3, 5), 9)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
        assert torch.equal(hashed(kind, KEYS[order], 0, (6, 3, 5), 9), whole[order])
        assert torch.equal(hashed(kind, KEYS[3:4], 0, (6, 3, 5), 9), whole[3:4])
        parts = [hashed(kind, KEYS, 15 * first, (2, 3, 5), 9) for first in (0, 2, 4)]
        assert torch.equal(torch.cat(parts, 1), whole)


def test_draws_on_a_device_belong_to_an_image_too(on_device):
    x = pictures(5)
    draws = ImageDraws(x, None, 0, "test")
    whole = draws.normal(3), draws.uniform(3), draws.choice(3, 10)
    again = ImageDraws(x.flip(0), None, 0, "test")
    rounds = [(again.normal(n), again.uniform(n), again.choice(n, 10)) for n in (1, 2)]
    for expected, *parts in zip(whole, *rounds, strict=True):
        assert torch.equal(torch.cat(parts, 1).flip(0), expected)
    for at, own in ImageDraws(x, None, 0, "test").split(2):
        (nested,) = own.split(5)
        assert torch.equal(nested[1].normal(3), whole[0][at])
        assert own.ids == draws.ids[at]
    assert not torch.equal(ImageDraws(x, None, 1, "test").normal(3), whole[0])
    assert not torch.equal(ImageDraws(x, None, 0, "other").normal(3), whole[0])
    assert not torch.equal(draws.normal(3), whole[0])


def test_the_number_of_launches_does_not_grow_with_the_batch(on_device):
    class Launches(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += 1
            return func(*args, **(kwargs or {}))

    counts = []
    for images, samples in ((2, 1), (8, 10)):
        draws = ImageDraws(pictures(images), [str(i) for i in range(images)], 0, "test")
        with Launches() as launches:
            draws.normal(samples)
        counts.append(launches.count)
    assert counts[0] == counts[1] < 60


def test_a_cpu_keeps_its_generators_and_a_card_may_have_them():
    x, names = pictures(2), ["a", "b"]
    with numerics(Numerics(draws="device")):
        drawn = ImageDraws(x, names, 3, "test").normal(2)
        assert not draws_on_device(torch.device("cpu"))
        assert draws_on_device(torch.device("cuda"))
    generator = generator_for(3, "b", "test normal")
    assert torch.equal(drawn[1], torch.stack([torch.randn(3, 8, 8, generator=generator) for _ in range(2)]))
    with numerics(Numerics(draws="cpu")):
        assert not draws_on_device(torch.device("cuda"))
