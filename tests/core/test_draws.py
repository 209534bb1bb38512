"""Draws belong to an image and a purpose, not to a batch."""

import torch
from networks import pictures

from suite.core.draws import ImageDraws, generator_for, image_ids


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
