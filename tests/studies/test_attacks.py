"""The attacks study and its audit: a whole small run, planted faults that each line must notice, the command line."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from attacked import Bent, photos
from networks import CLASSES, seeded
from tiny import write_boxes
from torch import Tensor

from suite.attacks.attack import Problem, attack, bf16_supported
from suite.attacks.audit_lines import LINES
from suite.attacks.pgd import PGD, minimal_epsilon
from suite.attacks.result import AttackResult, Iterates
from suite.attribution.saliency import Saliency
from suite.config import NetworkConfig, validate
from suite.core.classes import ClassNames
from suite.core.draws import generator_for
from suite.core.network import Card, Network
from suite.core.passes import Cost, predict
from suite.data.images import load_image
from suite.data.sources import ImageFile
from suite.metrics.statistics import wilson_interval
from suite.models.load import load_model
from suite.report import build
from suite.report.tables import build_tables
from suite.results import as_table, read, read_manifest
from suite.studies.attacks.report import SECTION, strip
from suite.studies.attacks.study import Attacks, _energy_inside, _top
from suite.studies.base import Work

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
    assert set(tables["attacks_transfer"]["other_model"]) <= {"one", "two"}
    assert set(tables["attacks_confusion"]["prediction"]) <= set("abcdefghij")
    inside = study[study["metric"] == "energy_in_object"]
    noise = inside[(inside["images"] == "noise") & (inside["attack"] == "pgd")].set_index("image")["value"]
    assert noise.isna().groupby(level=0).all().sum() == 1
    assert ((noise.dropna() - 0.5).abs() < 0.1).all()  # half of the picture, half of the noise
    assert "energy_in_object" in set(tables["attacks_maps"]["metric"])
    page = build(done).read_text()
    assert SECTION.title in page
    assert "at most" in page


RAN: list[PGD] = []


@dataclass(frozen=True)
class Watched(PGD):
    """PGD that notes with which settings it ran."""

    def find(self, problem: Problem) -> Iterates:
        RAN.append(self)
        return super().find(problem)


def work(count: int = 8, chunk: slice = slice(None), **options: object) -> Work:
    """Some photos, all right, on a small network, and a second network beside it."""
    images, classes = photos(count), ClassNames.indices(CLASSES)
    quiet = {"minimal": False, "agreement": False, "limits": False, "audit": False, "noise_draws": 2}
    studies = {"attacks": {"epsilons": [0, 0.02], "epsilons_l2": [0, 0.5], "at": 0.02} | quiet | options}
    config = validate({"data": {"batch_size": count}, "methods": ["saliency"], "studies": studies})
    made: list[Work] = []
    for name, seed in (("one", 0), ("two", 1)):
        card = Card(name, "test", "", (12, 12), None, classes)
        network = Network(seeded(Bent, seed=seed), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), card).eval()
        if not made:
            labels = network(images).argmax(1).tolist()
        files = [ImageFile(f"{i}.png", Path(), label, "") for i, label in enumerate(labels)][chunk]
        places = range(count)[chunk]
        made.append(Work(network, {"saliency": Saliency()}, images[chunk], files, places, [""] * count, [], config))
    return replace(made[0], others=made[1:])


def study(given: Work) -> pd.DataFrame:
    return as_table(Attacks().run(given).rows, Attacks.keys).to_pandas()


def of(rows: pd.DataFrame, metric: str, **where: object) -> list[float]:
    """The values of a metric, photo by photo."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows[rows["metric"] == metric].sort_values("image")["value"].tolist()


def direct(given: Work, made: PGD, **more: object) -> AttackResult:
    return attack(given.model, given.images, given.targets, made, ids=given.ids, epsilon=0.02, **more)


SETTINGS = {"steps": 3, "step_size": 0.004, "restarts": 2, "momentum": 0.9, "schedule": "linear", "loss": "margin"}


def test_every_question_runs_the_attack_that_its_rows_name() -> None:
    RAN.clear()
    mine = {"name": "tests.studies.test_attacks:Watched", "label": "mine", "early_stop": True, **SETTINGS}
    given = work(methods=["fgsm", mine, "pgd"], targets=["1"], minimal=True, noise_draws=1)
    rows = study(given)
    assert {tuple(vars(one)[name] for name in SETTINGS if name != "step_size") for one in RAN} == {
        tuple(value for name, value in SETTINGS.items() if name != "step_size")
    }
    assert {round(one.length(0.02), 9) for one in RAN} == {0.004}
    assert [one.early_stop for one in RAN].count(False) == 1  # of transfer and maps, which spend the whole budget
    whole, quick = PGD(**SETTINGS), PGD(early_stop=True, **SETTINGS)
    found = direct(given, whole)
    there = predict(given.others[0].model, found.images).argmax(1) != given.targets
    right = given.others[0].scores.argmax(1) == given.targets
    values = pd.Series(of(rows, "transfer_success", method="mine", other_model="two"))
    assert values.dropna().tolist() == there[right].double().tolist()
    aimed = given.targets != 1
    those = [name for name, fits in zip(given.ids, aimed.tolist(), strict=True) if fits]
    targeted = attack(given.model, given.images[aimed], given.targets[aimed], quick, ids=those, epsilon=0.02, targets=1)
    for metric in ("success", "iterations", "l2"):
        expected = getattr(targeted, metric).double().tolist()
        assert of(rows, metric, method="mine", question="targeted") == pytest.approx(expected)
    attacked = rows[rows["metric"].isin(["transfer_success", "map_spearman", "energy_in_source_map"])]
    assert set(attacked["method"]) == {"mine", "saliency"}
    assert set(attacked["other_model"]) == {"two", ""}
    assert set(attacked["attack"]) == {"", "mine", "fooling image"}
    assert {"mine", "fooling"} == set(rows.loc[rows["question"] == "targeted", "method"])
    picture = next(iter(Attacks().run(work(methods=[mine])).pictures.values()))
    assert str(picture["title"]) == "mine, epsilon 5.1/255"


def test_the_smallest_epsilon_is_that_of_the_attack_named_and_not_of_plain_pgd() -> None:
    named = {"mine": SETTINGS, "plain": {}, "l2": {"norm": "l2", "steps": 2, "step_size": 0.3}}
    methods = [{"name": "pgd", "label": label, **settings} for label, settings in named.items()]
    given = work(methods=methods, minimal=True)
    rows = study(given)
    for label, settings in named.items():
        made = PGD(**settings).searching(0.02 if label != "l2" else 1.0)

        def attempt(index: Tensor, epsilon: Tensor, made: PGD = made) -> tuple[Tensor, Tensor]:
            ids = [given.ids[i] for i in index.tolist()]
            found = attack(given.model, given.images[index], given.targets[index], made, ids=ids, epsilon=epsilon)
            return found.success, found.images

        ends = {"first": 1.0, "largest": 100.0} if label == "l2" else {"first": 1 / 255, "largest": 1.0}
        least, _ = minimal_epsilon(attempt, given.images, tolerance=0.1, **ends)
        assert of(rows, "minimal_epsilon", method=label) == least.tolist(), label
    assert of(rows, "minimal_epsilon", method="mine") != of(rows, "minimal_epsilon", method="plain")


def test_an_audit_is_of_the_attack_named_and_runs_with_a_search_in_bfloat16_too() -> None:
    RAN.clear()
    mine = {"name": "tests.studies.test_attacks:Watched", "label": "mine", **SETTINGS}
    rows = study(work(methods=[mine], audit=True, targets=["1"]))
    assert set(rows.loc[rows["metric"] == "audit", "method"]) == {"mine"}
    assert {one.momentum for one in RAN} == {0.9}
    assert {one.schedule for one in RAN} == {"linear"}
    if bf16_supported(torch.device("cpu")):
        search = {"name": "pgd", "precision": "bf16", "early_stop": True}
        rows = study(work(methods=[search], audit=True, targets=["1"]))
        assert of(rows, "audit", line="silent") == [0.0]


def test_noise_is_the_share_of_its_draws_that_fool_each_photo_whatever_stands_beside_it() -> None:
    given = work(8, methods=["fgsm"], epsilons=[0, 0.1], noise_draws=20)
    found = of(study(given), "success", method="control_noise", epsilon=0.1)
    expected = []
    for name, image, target in zip(given.ids, given.images, given.targets, strict=True):
        drawn = [torch.rand(image.shape, generator=generator_for(0, name, f"noise {k}")) for k in range(20)]
        moved = (image + 0.1 * (torch.stack(drawn) * 2 - 1).sign()).clamp(0, 1)
        expected.append(float((predict(given.model, moved).argmax(1) != target).double().mean()))
    assert found == expected
    assert any(0 < share < 1 for share in found)
    halves = [
        study(work(8, chunk, methods=["fgsm"], epsilons=[0, 0.1], noise_draws=20)) for chunk in (slice(3), slice(3, 8))
    ]
    assert of(pd.concat(halves), "success", method="control_noise", epsilon=0.1) == expected
    assert of(study(given), "success", method="control_noise", epsilon=0.0) == [0.0] * 8
    assert of(study(given), "forwards", method="control_noise", epsilon=0.1) == [20.0] * 8


def test_passes_of_noise_and_of_the_search_are_counted_before_a_run() -> None:
    def cost(**options: object) -> Cost:
        return Attacks().cost({}, work(1, methods=["pgd"], **options).config)

    plain, noise, minimal = cost(), cost(noise_draws=7), cost(minimal=True)
    assert (noise.forwards - plain.forwards, noise.backwards - plain.backwards) == (5 * 2, 0)  # two epsilons
    assert minimal.backwards - plain.backwards == 14 * 10


def test_the_report_says_of_noise_which_share_of_draws_and_how_many_photos() -> None:
    rows = study(work(8, methods=["fgsm"], epsilons=[0, 0.1], noise_draws=20))
    shares = np.array(of(rows, "success", method="control_noise", epsilon=0.1))
    tables = SECTION.tables(rows, {})
    line = tables["attacks_success"].query("method == 'control_noise' and epsilon == 0.1")
    assert line["success"].item() == pytest.approx(shares.mean())
    assert line["photos_fooled"].item() == (shares > 0).sum() > 0
    assert (line["success_low"].item(), line["success_high"].item()) == wilson_interval(shares.sum(), 8)
    assert line["passes"].item() == 20
    reason = next(iter(SECTION.findings(tables)))["reason"]
    assert f"{(shares > 0).sum()} of 8 photos by any draw" in reason
    assert f"[{line['success_low'].item():.0%}, {line['success_high'].item():.0%}]" in reason


@pytest.mark.parametrize(("prevalence", "chance"), [(0.07, 0.37), (0.3, 0.1), (0.5, 1.0), (1.0, 0.3), (0.02, 1.0)])
def test_the_interval_of_noise_covers_where_draws_cluster_by_photo(prevalence, chance) -> None:
    """A photo is fooled by some share of draws or by none; the draws of one photo are no 20 photos."""
    rng = np.random.default_rng(0)
    truth, covered, pooled = prevalence * chance, [], []
    for _ in range(1000):
        hits = rng.binomial(20, np.where(rng.random(14) < prevalence, chance, 0.0))
        for sums, n, kept in ((hits.sum() / 20, 14, covered), (hits.sum(), 14 * 20, pooled)):
            low, high = wilson_interval(sums, n)
            kept.append(low <= truth <= high)
    assert np.mean(covered) >= 0.94
    if chance == 1:  # what 280 independent draws would give
        assert np.mean(pooled) < 0.8


def test_the_share_of_a_perturbation_inside_is_that_of_its_squares_and_undefined_where_all_is_inside() -> None:
    push = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    corner = torch.tensor([[[True, False], [False, False]]])
    assert _energy_inside(push, corner).tolist() == [9 / 25]
    for everything in (torch.ones_like(corner), torch.zeros_like(corner)):
        assert _energy_inside(push, everything).isnan().all()
    chart = torch.arange(100.0).view(1, 10, 10)
    assert _top(chart).sum() == 10
    assert _top(torch.zeros(1, 10, 10)).all()


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
    photo = np.full((20, 20, 3), 128, np.uint8)
    drawn = np.asarray(strip(photo, photo + 4, "cat", "dog", ["a line"])).astype(float)
    assert drawn[100, 60].tolist() == [128] * 3
    assert drawn[100, 60 + 238].tolist() == [132] * 3
    assert drawn[100, 60 + 2 * 238] == pytest.approx(np.full(3, 127.5 + 4), abs=0.6)
    assert drawn[100, 60 + 3 * 238] == pytest.approx(np.full(3, 127.5 + 40), abs=0.6)
