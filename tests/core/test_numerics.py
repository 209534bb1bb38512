"""Torch's switches are set inside and put back, and operators without a deterministic form are named."""

import warnings

import pytest
import torch

import suite
from suite.core.numerics import Numerics, active, numerics


def switches() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32, *deterministic


@pytest.mark.parametrize("before", [False, True])
def test_switches_are_set_and_put_back_also_after_an_error(before: bool) -> None:
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=True, benchmark=before, deterministic=not before, allow_tf32=before):
        outside = switches()
        with numerics():
            assert switches()[:4] == (False, True, False, False)
        assert switches() == outside
        with pytest.raises(ZeroDivisionError), numerics():
            1 / 0  # noqa: B018
        assert switches() == outside
        with numerics(Numerics(tf32=True, deterministic=False)):
            assert switches()[:4] == (True, not before, before, True)
        assert switches() == outside


def test_a_card_is_asked_for_deterministic_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with numerics():
        assert switches()[4:] == (True, True)
    assert switches()[4:] == (False, False)
    with numerics(Numerics(deterministic=False)):
        assert switches()[4:] == (False, False)


def test_operators_without_a_deterministic_form_are_named_and_other_warnings_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    text = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set ..."
    with warnings.catch_warnings(record=True) as shown, numerics() as without:
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn(text, UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert without == {"adaptive_avg_pool2d_backward_cuda"}
    assert [str(one.message) for one in shown] == ["something else"]


def test_an_inner_block_keeps_the_switches_of_the_block_around_it() -> None:
    fast = Numerics(tf32=True, deterministic=False)
    assert active() == Numerics()
    with numerics(fast) as outer:
        with numerics() as inner:
            assert switches()[0]
            assert active() == fast
            assert inner is outer
        with numerics(Numerics()):
            assert not switches()[0]
        assert switches()[0]
    assert active() == Numerics()


def test_calls_of_the_library_compute_under_them_and_put_them_back() -> None:
    seen = []

    class Watching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(switches()[:2])
            return images.flatten(1)[:, :5] * 2

    images, outside = torch.rand(2, 3, 8, 8), switches()
    suite.attribute(Watching(), images, 0, ["saliency"])
    suite.attack(Watching(), images, 0, "fgsm")
    with numerics(Numerics(tf32=True, deterministic=False)):
        suite.attribute(Watching(), images, 0, ["saliency"])
    assert {*seen[:-1]} == {(False, True)}
    assert seen[-1][0]
    assert switches() == outside
