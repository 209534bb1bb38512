"""The audit of an attack: sound ones pass, every fault has the line that notices it."""

import pytest
import torch
from attacked import Bent, case, photos
from networks import seeded
from torch import Tensor, nn

from suite.attacks.audit import Audit
from suite.attacks.audit_lines import LINES
from suite.attacks.pgd import PGD, PGDL2


@pytest.mark.slow
@pytest.mark.parametrize("made", [PGD(), PGDL2()], ids=repr)
def test_audit_passes_a_sound_attack_and_its_controls_notice_every_fault(made) -> None:
    model, images, labels = case(12)
    images = (images * 255).round() / 255
    labels = model(images).argmax(1)
    ids = tuple(map(str, range(12)))
    epsilon = 0.03 if made.ball == "linf" else 0.5
    found = Audit(model, images, labels, ids, epsilon, made, (0, 0.01, 0.03, 0.1, 0.5)).run()
    assert found.keys() == LINES.keys()
    verdicts = {line: LINES[line].verdict(value) for line, (value, _) in found.items() if value is not None}
    assert set(verdicts.values()) <= {"pass", "warn"}, verdicts
    assert {line for line, verdict in verdicts.items() if verdict == "warn"} <= {"saved_ball"}
    assert all(p.dtype == torch.float32 for p in model.parameters())


class Faulty(nn.Module):
    """Bent with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.body, self.fault = seeded(Bent), fault
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.fault == "steps":
            x = (x * 15).round() / 15
        if self.fault == "false slope":
            x = x + (x.square() - x.square().detach()) * 3
        scores = self.body(x)
        if self.fault == "dropout":
            scores = torch.dropout(scores, 0.5, True)
        if self.fault == "probabilities":
            scores = scores.softmax(1)
        if self.fault == "batch":
            scores = scores - scores.mean(0)
        if self.fault == "counts":
            self.count += 1
        if self.fault == "saturated":
            scores = scores * 1e4
        return scores


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("steps", "zero_gradient"),
        ("false slope", "real_gradient"),
        ("dropout", "deterministic"),
        ("probabilities", "logits"),
        ("batch", "batch_invariance"),
        ("counts", "state"),
        ("saturated", "saturation"),
    ],
)
def test_each_line_notices_its_fault_and_no_sound_network_has_it(fault, line) -> None:
    images = photos(6)

    def number(model: nn.Module) -> float:
        labels = model.eval()(images).argmax(1).detach()
        return Audit(model, images, labels, tuple("abcdef"), 0.03, PGD(), (0, 0.1)).line(line)[0]

    assert LINES[line].verdict(number(Faulty(fault))) in ("fail", "warn")
    assert LINES[line].verdict(number(Faulty(""))) == "pass"


def test_a_weak_attack_is_told_from_a_sound_one() -> None:
    model, images, labels = case(20)
    ids = tuple(map(str, range(20)))
    lazy = Audit(model, images, labels, ids, 0.05, PGD(steps=1, step_size=1e-4), (0, 0.05))
    sound = Audit(model, images, labels, ids, 0.05, PGD(), (0, 0.05))
    for line in ("iterated", "unbounded"):
        assert LINES[line].verdict(lazy.line(line)[0]) == "fail"
        assert LINES[line].verdict(sound.line(line)[0]) == "pass"
