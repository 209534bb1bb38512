"""`suite verify`: what is right comes out equal, and each planted fault is told by its name, never equal."""

import json
from pathlib import Path

import faults
import pytest
import tiny
import torch

from suite.errors import ConfigError
from suite.verify.networks import real_case, small_cases
from suite.verify.references import find_references
from suite.verify.verify import REAL_GAP, TOLERANCE, Finding, Kind, close, verify

Capture = pytest.CaptureFixture[str]

RIGHT = [
    ("saliency", "saliency"),
    ("saliency_one_by_one", "suite:saliency"),
    ("absolute_gradient", "captum:Saliency"),
    ("guided_by_hooks", "captum:GuidedBackprop"),
    ("guided", "captum:GuidedBackprop"),
    ("deconvolution", "captum:Deconvolution"),
    ("grad_cam", "suite:grad_cam"),
    ("grad_cam_signed", "captum:LayerGradCam"),
    ("guided_grad_cam", "captum:GuidedGradCam"),
    ("input_x_gradient", "captum:InputXGradient"),
    ("fgsm", "torchattacks:FGSM"),
    ("fgsm", "suite:fgsm"),
]
SLOWER = [
    ("integrated_gradients", "captum:IntegratedGradients"),
    ("pgd", "torchattacks:PGD"),
    ("pgd", "suite:pgd"),
    ("pgd_seeded", "torchattacks:PGD"),
]

WRONG = [
    ("guided_wrong_side", "captum:GuidedBackprop", "the ReLU is on the wrong side: negative gradients pass"),
    ("grad_cam_relu_before_sum", "suite:grad_cam", "the ReLU is on the wrong side: before the sum over channels"),
    ("grad_cam_relu_of_negated", "captum:LayerGradCam", "the ReLU is on the wrong side: of the negated map"),
    ("guided_by_hooks", "suite:guided_backprop", "no ReLU's backward differs (on functional ReLU)"),
    ("softmax", "saliency", "explains the softmax probability, not the score"),
    (
        "softmax",
        "captum:Saliency",
        "explains the softmax probability, not the score; and is then equal up to the channel",
    ),
    ("mean_for_max", "saliency", "takes the channel mean instead of the maximum"),
    ("missing_abs", "saliency", "the absolute value is missing"),
    ("batch_maximum", "saliency", "couples images of a batch"),
    ("train_mode", "saliency", "runs the network in train mode"),
    ("grad_cam_wrong_layer", "suite:grad_cam", "takes the wrong layer (first)"),
    ("guided_grad_cam_bilinear", "captum:GuidedGradCam", "upsamples bilinear, the reference nearest"),
    ("off_by_one", "saliency", "off by one: target + 1"),
    ("twice_normalised", "saliency", "normalises the images twice"),
    ("detached_at_relus", "saliency", "a path of the graph is detached (at the ReLUs)"),
    ("half_precision", "saliency", "computes in half precision"),
    ("leak", "saliency", "leaks memory: 1 more tensors stay alive"),
    ("needs_gradients_enabled", "saliency", "fails under no_grad"),
    ("backward_into_weights", "saliency", "changes the model's state (.grad)"),
    ("forgets_nothing", "saliency", "changes the model's state (hooks)"),
    ("images_overwritten", "saliency", "changes the images it is given"),
    ("stateful", "saliency", "gives another result when called again"),
    ("one_pixel", "saliency", "differs on linear: at one pixel only (row 3, column 4); only in image 0 of a batch"),
    ("target_zero", "saliency", "differs on in-place ReLU: only where the target is 0"),
    ("grad_cam_overwritten", "suite:grad_cam", "differs only on in-place ReLU (an in-place ReLU writes over"),
    ("nan", "saliency", "returns NaN (first in image 1) (on linear)"),
    ("none", "saliency", "returns None, expected a tensor (B=5, C, h, w)"),
    ("three_dimensions", "saliency", "wrong shape (5, 12, 10), expected (B=5, C, h, w): unsqueeze(1)"),
    ("raising", "saliency", "raises ValueError: no such thing (on linear)"),
    ("leaving", "saliency", "raises SystemExit: 0"),
    ("saliency", "captum:Saliency", "equal up to the channel maximum (of absolute values)"),
    ("negated", "captum:Saliency", "equal up to the absolute value"),
    ("negated", "suite:gradient", "equal up to the sign"),
    ("doubled", "saliency", "equal up to the scale (2 on linear"),
    ("pretty", "saliency", "equal up to the range of each image"),
    ("grad_cam_upsampled", "suite:grad_cam", "equal up to bilinear upsampling"),
    ("fgsm_descending", "torchattacks:FGSM", "descends the loss: the sign is wrong"),
    ("fgsm_unclamped", "torchattacks:FGSM", "equal up to the clamp to [0, 1]"),
    ("fgsm_unsigned", "torchattacks:FGSM", "the gradient's sign is not taken"),
    ("fgsm_one_pixel", "torchattacks:FGSM", "at one pixel only (row 5, column 5)"),
]
WRONG_SLOWER = [
    ("grad_cam", "captum:LayerGradCam", "adds a ReLU that the reference leaves out"),
    ("deconvolution", "captum:GuidedBackprop", "is deconvolution: the ReLU's own mask is missing"),
    ("mean_loss", "saliency", "couples images of a batch: an image alone gives another result"),
    ("first_target", "saliency", "explains the first image's target for all images; couples images of a batch"),
    ("off_by_one_before", "saliency", "off by one: target - 1"),
    ("detached_at_branch", "saliency", "a path of the graph is detached"),
    ("autocast", "saliency", "computes in half precision"),
    ("zeros", "saliency", "returns zeros"),
    ("fgsm_half_epsilon", "torchattacks:FGSM", "takes another epsilon (4/255)"),
    ("fgsm_off_by_one", "torchattacks:FGSM", "attacks the wrong class (off by one: target + 1)"),
    ("integrated_gradients_right_sum", "captum:IntegratedGradients", "along the path (right sum of 20 steps)"),
    ("pgd_nine_steps", "torchattacks:PGD", "takes another number of steps (9)"),
    ("fgsm_half_epsilon", "suite:fgsm", "takes another epsilon (4/255)"),
    ("pgd_nine_steps", "suite:pgd", "takes another number of steps (9)"),
    ("pgd_unprojected", "torchattacks:PGD", "the projection onto the ball is missing"),
]


@pytest.mark.parametrize(("name", "against"), RIGHT)
def test_what_is_right_is_equal(name: str, against: str) -> None:
    answer = verify(getattr(faults, name), against)
    assert answer.verdict == "equal", answer
    assert str(answer).splitlines()[-1].startswith("verdict: equal")


def test_an_attack_may_need_gradients_enabled_as_torchattacks_does() -> None:
    def naive(model, images, labels):
        images.requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        return (images + 8 / 255 * torch.autograd.grad(loss, images)[0].sign()).clamp(0, 1)

    answer = verify(naive, "torchattacks:FGSM")
    assert answer.equal
    assert "fails under no_grad" in answer.notes[0]


@pytest.mark.parametrize(("name", "against"), SLOWER)
def test_what_takes_many_passes_and_is_right_is_equal(name: str, against: str) -> None:
    assert verify(getattr(faults, name), against, list(small_cases())[2:4]).equal


@pytest.mark.parametrize(("name", "against", "words"), WRONG)
def test_a_planted_fault_is_named(name: str, against: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_CALLS", [0])
    answer = verify(getattr(faults, name), against)
    assert not answer.equal
    assert answer.verdict.startswith(words) or (words in answer.verdict and "equal up to" not in words), answer


@pytest.mark.slow
@pytest.mark.parametrize(("name", "against", "words"), WRONG_SLOWER)
def test_more_planted_faults_are_named(name: str, against: str, words: str) -> None:
    answer = verify(getattr(faults, name), against)
    assert not answer.equal
    assert words in answer.verdict, answer


def test_every_pixel_of_every_small_network_matters() -> None:
    """A lone pixel that is off by a thousandth of the map's largest value is seen, and one that is lost is."""
    for case in small_cases():
        right = faults.saliency(case.model, case.images, case.targets)
        largest = right.amax((1, 2, 3), keepdim=True)
        assert bool((right > TOLERANCE * (right + 0.1 * largest)).all()), case.name
        for place in ((0, 0, 0, 0), (2, 0, 11, 9), (4, 0, 5, 3)):
            wrong = right.clone()
            wrong[place] += 1e-3 * float(largest[place[0]])
            assert not close(case, wrong, right)


def test_one_network_decides() -> None:
    def wrong_with_batch_norm(model, images, targets):
        found = faults.saliency(model, images, targets)
        return found * (1.01 if any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules()) else 1)

    answer = verify(wrong_with_batch_norm, "saliency")
    assert [f.equal for f in answer.findings] == [True, True, True, True, False]
    assert not answer.equal


def test_on_a_real_network_rounding_is_excused_and_nothing_else() -> None:
    case = next(iter(small_cases()))
    real = type(case)("real", case.model, case.images, case.targets, small=False)
    right = faults.saliency(case.model, case.images, case.targets)
    largest = float(right.max())
    noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(0))
    rounded = right * (1 + 1e-4 * noise)
    assert close(real, rounded, right)
    assert not close(case, rounded, right)
    off = rounded.clone()
    off[1, 0, 2, 2] += 2 * REAL_GAP * largest
    assert not close(real, off, right)
    alone = right.clone()  # all else is equal to the bit: nothing was computed in another order
    alone[1, 0, 2, 2] += 1e-4 * largest
    assert not close(real, alone, right)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("captum:Salency", "did you mean 'captum:Saliency'"),
        ("PGDL2", "did you mean torchattacks:PGDL2?"),
        ("Saliency", "did you mean captum:Saliency or suite:saliency?"),
        ("torchattack:FGSM", "expected captum:NAME, suite:NAME or torchattacks:NAME"),
        ("suite:grad_camm", "did you mean 'suite:grad_cam'"),
        ("captum:Xyzzy", "there are Saliency, "),
    ],
)
def test_a_wrong_reference_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match="--against") as refused:
        find_references(name)
    assert words in str(refused.value)


MINE = """
import torch

def saliency(model, images, targets):
    print("working")
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        score = model(x).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(1, keepdim=True)

class Saliency:
    def __call__(self, model, images, targets):
        return saliency(model, images, targets)

def doubled(model, images, targets):
    return 2 * saliency(model, images, targets)

number = 3
"""


@pytest.fixture
def small_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a module, and no real network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_here.py").write_text(MINE)
    (tmp_path / "mine_broken.py").write_text("def f(:")
    (tmp_path / "mine_leaves.py").write_text("raise SystemExit(0)")
    monkeypatch.setattr("suite.verify.networks.cases", lambda model, data: small_cases())
    return tmp_path


def test_exit_codes_and_what_is_printed(small_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for name in ("saliency", "Saliency"):
        assert tiny.main(monkeypatch, "verify", f"mine_here:{name}", "--against", "saliency") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in lines[:-1]] == [c.name for c in small_cases()]
        assert lines[-1] == "verdict: equal to the bit"
    assert tiny.main(monkeypatch, "verify", "mine_here:doubled", "--against", "saliency", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] is False
    assert found["verdict"].startswith("equal up to the scale (2 ")
    assert found["findings"][0].keys() == Finding("", True, "", Kind.EXACT).__dict__.keys()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine_here:salency", "--against", "saliency"], "did you mean 'saliency'"),
        (["mine_nowhere:f", "--against", "saliency"], "no module named 'mine_nowhere'"),
        (["mine_broken:f", "--against", "saliency"], "SyntaxError"),
        (["mine_leaves:f", "--against", "saliency"], "exits when it is imported"),
        (["mine_here:number", "--against", "saliency"], "not a function, but a int"),
        (["mine_here", "--against", "saliency"], "expected package.module:function"),
        (["mine_here:saliency", "--against", "captum:Salency"], "did you mean 'captum:Saliency'"),
        (["mine_here:saliency"], "--against"),
    ],
)
def test_what_cannot_be_loaded_is_exit_2(
    words: list[str], said: str, small_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert tiny.main(monkeypatch, "verify", *words) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    lines = [line for line in streams.err.splitlines() if line.startswith("suite: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in streams.err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "against"), [*RIGHT[1:10:2], *SLOWER[:2]])
def test_what_is_right_is_equal_on_squeezenet(name: str, against: str) -> None:
    assert verify(getattr(faults, name), against, [real_case()]).equal


@pytest.mark.slow
def test_a_fault_that_only_the_real_network_shows(
    small_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(
        "suite.verify.networks.cases", lambda model, data: iter([*small_cases(), real_case(model, data)])
    )
    code = "\ndef large(model, images, targets):\n    found = saliency(model, images, targets)\n"
    code += "    found.view(-1)[found.argmax()] *= images.shape[2] < 100\n    return found\n"
    (small_only / "mine_large.py").write_text(MINE + code)
    assert tiny.main(monkeypatch, "verify", "mine_large:large", "--against", "saliency") == 1
    assert "differs only on squeezenet1_1, 3 photos: at one pixel only" in capsys.readouterr().out
