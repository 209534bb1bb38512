"""Every configuration that ships: valid, and done from end to end with packages alone, no network and an empty home."""

from pathlib import Path

import pytest
import tiny

from suite.config import load
from suite.results import read, read_manifest

CONFIGS = sorted((tiny.ROOT / "configs").glob("*.yaml"))
SHORTER = {
    "attacks": [
        *("studies.attacks.epsilons=[0, 1/255]", "studies.attacks.epsilons_l2=[0, 1]"),
        *("studies.attacks.minimal=false", "studies.attacks.audit=false"),  # tests/studies/test_attacks.py runs these
    ],
    "sanity": [
        "studies.sanity.draws=1",
        "studies.sanity.smoothed=1",
        "studies.sanity.noise_factors=[1]",
        "studies.sanity.cells=[4]",
    ],
    "labels": ["preset=quick", "models.0.parameters.count=100", "studies.labels.count=100"],
    "synthesis": [
        "studies.style_transfer.size=64",
        "studies.style_transfer.pairs=[{content: tubingen, style: starry_night, parameters: {steps: 5}}]",
    ],
    "scores": ["studies.scores.steps=4", "studies.scores.samples=10", "studies.scores.perturbations=2"],
    "speed": ["studies.speed.rounds=2", "studies.speed.memory=false"],
    "adversarial_training": [f"models.{i}.parameters.{key}" for i in (0, 1) for key in ("count=100", "epochs=1")],
    "coursework": [
        *(f"studies.{name}=null" for name in ("scores", "sanity", "speed", "differentiate")),  # as elsewhere
        "studies.attacks.epsilons=[0, 1/255]",
        "studies.attacks.limits=false",
        "studies.attacks.agreement=false",
        "studies.style_transfer.size=64",
        "models=[squeezenet1_1]",
        "methods=[saliency, grad_cam]",
        "studies.digits.methods=[saliency]",
        "studies.style_transfer.pairs=[{content: tubingen, style: starry_night, parameters: {steps: 5}}]",
        *(f"studies.digits.models.{i}.parameters.{key}" for i in (0, 1) for key in ("count=100", "epochs=1")),
        *(f"studies.visualization.jobs.{i}.recipe={{steps: 2}}" for i in range(7)),
        "studies.visualization.jobs.2.snapshots=[1, 2]",
    ],
}  # the timings themselves are not what is tested here
SHORTER["synthesis"] += [f"studies.visualization.jobs.{i}.recipe.steps=2" for i in range(11)]
for place, name in ((8, "steps"), (9, "samples"), (10, "samples"), (11, "samples"), (12, "steps")):
    SHORTER["speed"].append(f"methods.{place}.{name}=3")
SHORTER["scores"] += ["studies.scores.removed=[0.5]", "methods.5.steps=3", "methods.6.samples=3"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_valid_and_says_what_it_is_for(path: Path) -> None:
    assert load(path).name == path.stem != "example"
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_runs_to_the_end_offline(path: Path, tmp_path: Path) -> None:
    closed = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    run_dir = tmp_path / "run"
    done = tiny.suite(
        "run", path, *SHORTER.get(path.stem, []), "--limit", 2, "--run-dir", run_dir,
        cwd=tiny.ROOT, timeout=580, **closed, HOME=str(tmp_path), TORCH_HOME=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (run_dir / "report.html").stat().st_size < 10_000_000
    rows, manifest = read(run_dir), read_manifest(run_dir)
    assert manifest["status"] == "done"
    assert not (rows["status"] == "failed").any()
    skipped = rows.loc[(rows["metric"] == "network") & (rows["status"] == "skipped"), "model"]
    optional = {part.title for part in load(path).models if part.optional}
    assert set(skipped) <= optional  # each named with its reason; nothing else was left out
