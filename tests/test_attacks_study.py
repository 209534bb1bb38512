"""The attacks study and its audit: a whole small run, planted faults that each line must notice, the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from networks import seeded
from test_attacks import Bent, case, photos
from test_data_boxes import write as write_boxes
from torch import Tensor, nn

from suite.attacks.audit import Audit
from suite.attacks.audit_lines import LINES
from suite.attacks.pgd import PGD, PGDL2
from suite.attacks.saved import from_png
from suite.config import NetworkConfig
from suite.data.images import load_image
from suite.models.load import load_model
from suite.report import build
from suite.report.tables import build_tables
from suite.results import read, read_manifest
from suite.studies.attacks.report import SECTION, strip
from suite.studies.attacks.study import _energy_inside, _top

STUDY = {
    "methods": ["fgsm", {"name": "pgd", "early_stop": True}, {"name": "pgd_l2", "steps": 4}],
    "epsilons": [0, "1/255", "8/255", 0.5, 1],
    "epsilons_l2": [0, 1],
    "at": "8/255",
    "targets": ["c"],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("attacks")
    models = [tiny.network(folder, label="one"), tiny.network(folder, label="two", parameters={"act": "silu"})]
    source = tiny.photos(folder)
    files = sorted(source.rglob("*.png"))
    one = load_model(NetworkConfig(**models[0]))
    seen = [int(one(load_image(f, resize=None, crop=(tiny.SIDE,) * 2)[0][None]).argmax()) for f in files]
    labels = [(seen[0] + 1) % tiny.K, *seen[1:]]  # all right but the first
    lines = [f"{f.relative_to(source)},{label}" for f, label in zip(files, labels, strict=True)]
    (source / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    boxes = folder / "boxes"
    boxes.mkdir()
    for file in files[:-1]:  # the last has none
        write_boxes(boxes, ("thing", 0, 0, 50, 100), size=(100, 100), name=f"{file.stem}.xml")
    data = {"source": str(source / "labels.csv"), "batch_size": 3, "boxes": str(boxes)}
    path = tiny.config(
        folder, methods=["saliency", "control_noise"], models=models, data=data, studies={"attacks": STUDY}
    )
    tiny.rows(path, folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_whole_study_gives_rows_tables_and_a_page(done) -> None:
    rows = read(done)
    study = rows[rows["study"] == "attacks"]
    assert not (study["status"] == "failed").any(), study[study["status"] == "failed"]["message"].tolist()
    tables = build_tables(rows, read_manifest(done))
    agreement = tables["attacks_agreement"]
    assert (agreement["bit_equal_n"] == agreement["n"]).all()
    assert (agreement["verdict_equal_n"] == agreement["n"]).all()
    for _, curve in tables["attacks_success"].groupby(["model", "norm", "method"]):
        if not curve["control"].any():
            assert curve.sort_values("epsilon")["success"].is_monotonic_increasing
    robust = tables["attacks_robust"]
    assert (robust["robust_at_most"] <= robust["clean_accuracy"]).all()
    assert (
        robust.loc[robust["epsilon"] == 0, "robust_at_most"] == robust.loc[robust["epsilon"] == 0, "clean_accuracy"]
    ).all()
    right = rows[(rows["metric"] == "correct") & (rows["value"] == 1)].groupby("model").size()
    assert right["one"] == 5
    audited = tables["attacks_verdicts"].query("model == 'one'")
    assert len(audited) == len(LINES) + 1
    overall = audited.iloc[0]
    passed = int((audited["verdict"].iloc[1:] == "pass").sum())
    assert overall["measure"] == "overall"
    assert f"{passed} of {len(LINES)} lines pass" in overall["reason"]
    assert overall["verdict"] == next((v for v in ("fail", "warn") if v in set(audited["verdict"].iloc[1:])), "pass")
    assert len(tables["attacks_targeted"])
    assert set(tables["attacks_transfer"]["other"]) <= {"one", "two"}
    assert set(tables["attacks_confusion"]["prediction"]) <= set("abcdefghij")
    inside = study[study["metric"] == "energy_in_object"]
    noise = inside[(inside["stage"] == "noise") & (inside["other"] == "pgd")].set_index("image")["value"]
    assert noise.isna().groupby(level=0).all().sum() == 1
    assert ((noise.dropna() - 0.5).abs() < 0.1).all()  # half of the picture, half of the noise
    assert "energy_in_object" in set(tables["attacks_maps"]["metric"])
    page = build(done).read_text()
    assert SECTION.title in page
    assert "at most" in page


def test_the_share_of_a_perturbation_inside_is_that_of_its_squares_and_undefined_where_all_is_inside() -> None:
    push = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    corner = torch.tensor([[[True, False], [False, False]]])
    assert _energy_inside(push, corner).tolist() == [9 / 25]
    for everything in (torch.ones_like(corner), torch.zeros_like(corner)):
        assert _energy_inside(push, everything).isnan().all()
    chart = torch.arange(100.0).view(1, 10, 10)
    assert _top(chart).sum() == 10
    assert _top(torch.zeros(1, 10, 10)).all()


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
        found = getattr(Audit(model, images, labels, tuple("abcdef"), 0.03, PGD(), (0, 0.1)), f"_{line}")()
        return found[0] if isinstance(found, tuple) else found

    assert LINES[line].verdict(number(Faulty(fault))) in ("fail", "warn")
    assert LINES[line].verdict(number(Faulty(""))) == "pass"


def test_a_weak_attack_is_told_from_a_sound_one() -> None:
    model, images, labels = case(20)
    ids = tuple(map(str, range(20)))
    lazy = Audit(model, images, labels, ids, 0.05, PGD(steps=1, step_size=1e-4), (0, 0.05))
    sound = Audit(model, images, labels, ids, 0.05, PGD(), (0, 0.05))
    for line in ("iterated", "unbounded"):
        assert LINES[line].verdict(float(getattr(lazy, f"_{line}")())) == "fail"
        assert LINES[line].verdict(float(getattr(sound, f"_{line}")())) == "pass"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epsilons": [8]}, "did you mean 8/255"),
        ({"epsilons": ["-1/255"]}, "at least 0"),
        ({"methods": ["pdg"]}, "did you mean 'pgd'"),
        ({"methods": [{"name": "fgsm", "steps": 4}]}, "unknown parameter 'steps'"),
        ({"methods": ["fooling"]}, "takes no epsilon"),
    ],
)
def test_bad_configurations_are_one_line_before_anything_runs(tmp_path, monkeypatch, capsys, change, says) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tiny.ROOT / "tests"))
    path = tiny.config(tmp_path, studies={"attacks": STUDY | change})
    assert tiny.main(monkeypatch, "check", path) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_figure_magnifies_ten_times() -> None:
    photo = np.full((20, 20, 3), 0.5, np.float32)
    drawn = np.asarray(strip(photo, photo + 0.02, "cat", "dog", ["a line"]))
    assert drawn[100, 60].tolist() == [128] * 3
    assert drawn[100, 60 + 2 * 238].tolist() == [133] * 3
    assert drawn[100, 60 + 3 * 238].tolist() == [178] * 3


@pytest.mark.slow
def test_command_writes_a_picture_that_is_still_fooled(tmp_path, monkeypatch, capsys) -> None:
    from suite.data.classes import ClassNames
    from suite.data.sources import list_images

    photo = list_images("embedded", classes=ClassNames.imagenet()).files[0].path
    words = ["attack", photo, "--epsilon", "4/255", "--target", "stingray", "--out", tmp_path / "out", "--json"]
    assert tiny.main(monkeypatch, *words) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["fooled_as_saved"]
    assert 0.9 < numbers["ssim"] < 1
    import suite

    model = suite.load_model("squeezenet1_1")
    back = from_png(Path(numbers["picture"]).read_bytes())[None]
    assert model.card.classes.name(int(model(back).argmax())) == "stingray"
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert back.shape == (1, 3, 224, 224)


@pytest.mark.slow
def test_adversarial_training_changes_the_weights_and_nothing_else_of_a_recipe(tmp_path, monkeypatch) -> None:
    from suite.training.fit import Recipe, train

    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    plain, hard = (Recipe(architecture="mlp", count=200, epochs=2, adversary=a, threads=1) for a in (0.0, 0.1))
    assert plain.digest != hard.digest
    bodies = [train(recipe)[0] for recipe in (plain, hard)]
    assert not torch.equal(bodies[0][1].weight, bodies[1][1].weight)
    shutil.rmtree(tmp_path / "trained")
    again = train(hard)[0]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), bodies[1].parameters(), strict=True))
