"""What a network says of perturbed copies, by hand; the order in which pixels go."""

import torch
from host_reads import HostReads
from torch import nn

from suite.metrics.perturbed import evaluate_perturbed, first_removed, removal_ranks
from suite.metrics.removal import deletion

T = torch.tensor


def shuffled(count, pixels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(pixels, generator=generator) for _ in range(count)])


def test_perturbed_answers_do_not_depend_on_how_many_go_together():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    images, masks = torch.rand(3, 3, 8, 8), torch.rand(3, 7, 8, 8) < 0.5
    one, many = (
        evaluate_perturbed(model, images, T([0, 1, 2]), masks, images.flip(3), room=room).score for room in (1, 21)
    )
    torch.testing.assert_close(one, many)
    each = torch.where(masks[1, 4], images.flip(3)[1], images[1])
    torch.testing.assert_close(one[1, 4], model(each[None])[0, 1].double())


def test_tied_pixels_go_in_random_order_and_scale_does_not_matter():
    constant = torch.ones(1, 8, 8)
    a, b = (removal_ranks(constant, shuffled(1, 64, seed)) for seed in (0, 1))
    assert not torch.equal(a, b)
    assert not torch.equal(a.flatten(), torch.arange(64))
    values = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (removal_ranks(v, shuffled(2, 64)) for v in (values, 1000 * values))
    assert torch.equal(first, second)


def test_a_removal_curve_reads_nothing_back_however_many_its_steps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval()
    images, targets = torch.rand(2, 3, 8, 8), T([0, 1])
    with HostReads() as reads:
        ranks = removal_ranks(images.mean(1), shuffled(2, 64))
        masks = first_removed(ranks, torch.linspace(0, 1, 28))
        outputs = evaluate_perturbed(model, images, targets, masks, images.flip(3), room=3)
        ends = [type(outputs)(*(t[:, at] for t in outputs)) for at in (slice(0, 1), slice(27, 28))]
        areas = [*deletion(outputs, *ends)]
    assert len(areas) == 3
    assert reads.count == 0, reads.operators
