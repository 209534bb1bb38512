"""Agreement: planted faults are found and named; what is undefined or not promised says why."""

import dataclasses
from pathlib import Path

import pytest
import tiny
import torch
import works

from suite.attribution.saliency import Saliency
from suite.attribution.smoothgrad import SmoothGrad
from suite.core.rectifiers import rectifier_report
from suite.reference import captum
from suite.studies.agreement.report import agreement_verdicts
from suite.studies.agreement.study import Agreement, _promise


def plant(monkeypatch: pytest.MonkeyPatch, kind: type, wrong: object) -> None:
    """Replaces Captum's version of a method."""
    known = captum.COUNTERPARTS[kind]
    monkeypatch.setitem(captum.COUNTERPARTS, kind, dataclasses.replace(known, compute=wrong))


def test_one_ulp_on_one_pixel_of_one_image_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = captum.COUNTERPARTS[Saliency].compute
    path = tiny.config(tmp_path, methods=["saliency", "gradient"], studies={"agreement": {}})

    def wrong(method, model, images, targets):
        found = right(method, model, images, targets).clone()
        if torch.equal(images[1], victim):
            found[1, 0, 5, 7] = torch.nextafter(found[1, 0, 5, 7], torch.tensor(float("inf")))
        return found

    from suite.config import load
    from suite.data.datamodule import read_chunk
    from suite.data.sources import list_images
    from suite.models.load import load_model

    config = load(path)
    network = load_model(config.models[0])
    files = list_images(config.data.source, classes=network.card.classes).files
    chunk = read_chunk(None, files[3:], network.card.taken)
    victim, name = chunk.images[1], files[4].id
    plant(monkeypatch, Saliency, wrong)
    rows = tiny.rows(path, tmp_path / "run")
    bits = rows[(rows["metric"] == "bit_equal") & (rows["method"] == "saliency")].set_index("image")["value"]
    assert bits[name] == 0
    assert (bits.drop(name) == 1).all()
    assert len(bits) == 6
    verdicts = agreement_verdicts(rows).set_index("method")
    assert verdicts.loc["saliency", "verdict"] == "differs"
    assert name in verdicts.loc["saliency", "reason"]
    assert verdicts.loc["gradient", "verdict"] == "equal"


def test_a_reference_that_raises_costs_only_its_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(method, model, images, targets):
        raise RuntimeError("captum is unwell")

    plant(monkeypatch, Saliency, broken)
    rows = tiny.rows(
        tiny.config(tmp_path, methods=["saliency", "gradient"], studies={"agreement": {}}), tmp_path / "run"
    )
    lost = rows[rows["status"] == "failed"]
    assert set(lost["method"]) == {"saliency"}
    assert len(lost) == 6
    assert "captum is unwell" in lost["message"].iloc[0]
    assert (rows[(rows["metric"] == "bit_equal") & (rows["method"] == "gradient")]["value"] == 1).sum() == 6


def test_guided_on_a_smooth_network_says_what_captum_does(tmp_path: Path) -> None:
    model = tiny.network(tmp_path, parameters={"act": "silu"})
    path = tiny.config(tmp_path, model=model, methods=["guided_backprop", "saliency"], studies={"agreement": {}})
    rows = tiny.rows(path, tmp_path / "run")
    guided = rows[(rows["method"] == "guided_backprop") & (rows["study"] == "agreement")]
    assert set(guided["status"]) == {"not_applicable"}
    assert "SiLU x2" in guided["message"].iloc[0]
    assert "Captum differs, because it returns the plain gradient" in guided["message"].iloc[0]
    verdicts = agreement_verdicts(rows).set_index("method")["verdict"]
    assert verdicts.to_dict() == {"guided_backprop": "not applicable", "saliency": "equal"}


def test_functional_rectifiers_are_not_promised_to_the_bit(tmp_path: Path) -> None:
    model = tiny.network(tmp_path, parameters={"act": "functional"})
    path = tiny.config(tmp_path, model=model, methods=["guided_backprop", "saliency"], studies={"agreement": {}})
    rows = tiny.rows(path, tmp_path / "run")
    guided = rows[(rows["method"] == "guided_backprop") & (rows["study"] == "agreement")]
    assert "bit_equal" not in set(guided["metric"])
    within = guided[guided["metric"] == "within_tolerance"]
    assert len(within) == 6
    assert (within["value"] == 0).any()
    assert "hooks 0 of 2 rectifier calls" in within["message"].iloc[0]
    verdict = agreement_verdicts(rows).set_index("method").loc["guided_backprop"]
    assert verdict["verdict"] == "differs"
    assert "hooks 0 of 2" in verdict["reason"]


def test_a_constant_map_has_no_ranks(tmp_path: Path) -> None:
    path = tiny.config(
        tmp_path, methods=[{"name": "layer_activation", "layer": "act2", "channel": 0}, "saliency"],
        studies={"agreement": {}},
    )  # fmt: skip
    import suite.models.load as load

    made = load._from_factory

    def dead(config):
        source = made(config)
        with torch.no_grad():
            source.body.second.weight[0] = 0
            source.body.second.bias[0] = -1
        return source

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_from_factory", dead)
        rows = tiny.rows(path, tmp_path / "run")
    ranks = rows[
        (rows["method"] == "layer_activation") & (rows["metric"] == "spearman") & (rows["study"] == "agreement")
    ]
    assert set(ranks["status"]) == {"not_applicable"}
    assert "constant" in ranks["message"].iloc[0]
    bits = rows[(rows["method"] == "layer_activation") & (rows["metric"] == "bit_equal")]
    assert (bits["value"] == 1).sum() == 6


def test_what_is_promised_of_a_comparison() -> None:
    given = works.work()
    survey = rectifier_report(given.model, given.images)
    exact, loose = captum.counterpart(Saliency()), dataclasses.replace(
        captum.counterpart(Saliency()), exact=False, tolerance=0.1, reason="because"
    )  # fmt: skip
    assert _promise(exact, survey, torch.device("cpu")) == (0.0, "")
    assert _promise(loose, survey, torch.device("cpu")) == (0.1, "because")
    tolerance, reason = _promise(exact, survey, torch.device("cuda"))
    assert tolerance == 1e-3
    assert "on a CPU" in reason


def test_a_method_without_a_reference_says_so_and_a_control_needs_none() -> None:
    given = works.work({"mine": tiny.luminance, "control_edges": "control_edges", "broken": tiny.raising})
    frame = works.rows(Agreement(), given)
    assert dict(zip(frame["method"], frame["status"], strict=True)) == {"mine": "not_applicable", "broken": "failed"}
    assert "suite verify" in frame.loc[frame["method"] == "mine", "message"].iloc[0]


def test_random_methods_cost_our_own_calls_on_the_librarys_stream_too() -> None:
    methods, config = {"a": Saliency(), "b": SmoothGrad(samples=3)}, works.work().config
    assert Agreement().cost(methods, config).backwards == 1 + 2 * SmoothGrad(samples=3).cost().backwards
