"""How many images a pass may hold, and halves where it fails."""

import networks as nets
import pytest
import torch
from networks import pictures, seeded

from suite.core import memory
from suite.core.draws import ImageDraws
from suite.core.numerics import Numerics, numerics


def test_the_budget_counts_what_autograd_keeps():
    net, x = seeded(nets.Conv), pictures(2, (64, 64))
    one = memory.bytes_per_image(net, x)
    plane = 64 * 64 * 4
    assert (3 + 6) * plane <= one <= (3 + 6 + 6 + 5) * plane * 1.3  # image, convolution's output, rectifier's output
    assert memory.images_per_pass(net, x, budget=10 * one) == 10
    assert memory.images_per_pass(net, x, budget=1) == 1
    doubled = memory.bytes_per_image(net, pictures(1, (64, 128)))
    assert 1.8 < doubled / one < 2.2
    with torch.no_grad():
        passes: list[object] = []
        net.register_forward_hook(lambda *_: passes.append(1))
        assert memory.bytes_per_image(net, x) == one
    assert not passes  # counted once a network


@pytest.mark.parametrize(("room", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (64, [5])])
def test_parts_of_a_batch_fit(monkeypatch, room, sizes):
    net, x = seeded(nets.Conv), pictures(5)
    monkeypatch.setattr(memory, "images_per_pass", lambda *_: room)
    parts = list(memory.parts_that_fit(net, x, ImageDraws(x, None, 0, "test")))
    assert [len(x[part]) for part, _, _ in parts] == [len(own.images) for _, own, _ in parts] == sizes
    assert all(len(x[part]) * copies <= room for part, _, copies in parts)


@pytest.mark.parametrize(("fits", "sizes"), [(8, [7]), (4, [4, 3]), (3, [2, 2, 3]), (1, [1] * 7)])
def test_halves_where_memory_fails(fits, sizes):
    def make(at):
        if at.stop - at.start > fits:
            raise torch.OutOfMemoryError
        return list(range(at.start, at.stop))

    results = memory.in_halves(make, slice(0, 7))
    assert [len(result) for result in results] == sizes
    assert [i for result in results for i in result] == list(range(7))


@pytest.mark.parametrize("smallest", [1, 5])
def test_what_does_not_fit_at_all_is_raised(smallest):
    def make(at):
        tried.append(at.stop - at.start)
        raise torch.OutOfMemoryError

    tried = []
    with pytest.raises(torch.OutOfMemoryError):
        memory.in_halves(make, slice(0, 5), smallest=smallest)
    assert tried == ([5, 3, 2, 1] if smallest == 1 else [5])


def test_passes_are_smaller_after_memory_failed():
    net, x = seeded(nets.Conv), pictures(4)
    whole = memory.images_per_pass(net, x), memory.images_per_forward(x)
    seen = []

    def make(at):
        if at.stop - at.start > 1:
            raise torch.OutOfMemoryError
        seen.append((memory.images_per_pass(net, x), memory.images_per_forward(x)))

    memory.in_halves(make, slice(0, 4))
    assert seen == [(whole[0] // 4, whole[1] // 4)] * 4
    assert (memory.images_per_pass(net, x), memory.images_per_forward(x)) == whole


class OnCard:
    """As much of a tensor on a card as the plan asks about."""

    is_cuda, device, dtype = True, torch.device("cuda"), torch.float32

    def __init__(self, *shape):
        self.shape = torch.Size(shape)


def test_a_card_gives_a_share_of_what_is_free_and_no_more_than_keeps_it_busy(monkeypatch):
    one, free = 10 * 2**20, 8 * 2**30
    monkeypatch.setattr(memory, "bytes_per_image", lambda *_: one)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 1 * 2**30)
    net, wide = seeded(nets.Conv), OnCard(16, 3, 224, 224)
    assert memory.images_per_pass(net, wide) == 128  # of 614 that fit
    assert memory.images_per_pass(net, OnCard(16, 3, 32, 32)) == 512
    with numerics(Numerics(memory=0.1)):
        assert memory.images_per_pass(net, wide) == 64  # of 102
    free = 2**20
    with numerics(Numerics(memory=0.01)):
        assert memory.images_per_pass(net, wide) == 2
    assert memory.images_per_pass(net, wide, budget=1) == 1
    assert memory.images_per_pass(net, pictures(), budget=100 * one) == 100  # a CPU's is not rounded
