"""suite.audit: the same rows as a run's, a network found as it was, and one clear line for what cannot be audited."""

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor, nn

import suite
from suite.auditing import Audit
from suite.data.images import load_image
from suite.errors import SuiteError


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Wrapped(nn.Module):
    """Returns what `how` makes of the scores."""

    def __init__(self, how: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.net, self.how = tiny.Net(), how

    def forward(self, x: Tensor) -> object:
        return self.how(self.net(x))


def brightness(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return images.mean(1, keepdim=True)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return tiny.Net()


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_the_rows_are_those_of_a_run(tmp_path: Path) -> None:
    """From the same files in a folder to the last bit and name; from a tensor with names of its own."""
    run = tiny.rows(
        tiny.config(tmp_path, 4, data={"source": str(tmp_path / "photos"), "batch_size": 2}), tmp_path / "r"
    )
    network = suite.load_model("net", factory="tiny:net", input_size=tiny.SIDE)
    files = sorted((tmp_path / "photos").rglob("*.png"))
    images = torch.stack([load_image(file, resize=None, crop=(32, 32))[0] for file in files])
    same = {
        "methods": ["saliency", "guided_backprop", "grad_cam"],
        "studies": ["agreement", "comparison", "sharpness"],
        "classes": tmp_path / "classes.txt",
        "name": "net",
        "threads": 1,
        "data": {"batch_size": 2},
    }
    folder = suite.audit(network.body, tmp_path / "photos", network={"input_size": tiny.SIDE}, **same)
    pd.testing.assert_frame_equal(folder.rows, run)
    tensor = suite.audit(network.body, images, [file.parent.name for file in files], **same)
    columns = ["study", "method", "other_method", "pairing", "metric", "target", "value", "status"]
    # Ids differ, and with them the order of the list: which photo of another class is another photo's partner.
    own = [
        rows.loc[rows["pairing"] != "unrelated_photos", columns].reset_index(drop=True) for rows in (tensor.rows, run)
    ]
    pd.testing.assert_frame_equal(*own)


@pytest.mark.slow
def test_the_result_gives_tables_verdicts_and_a_report(net: nn.Module, photos: Tensor, tmp_path: Path) -> None:
    found = suite.audit(
        net, photos, torch.tensor([1, 2, 3]), methods=["saliency", {"name": "smoothgrad", "samples": 2}]
    )
    verdicts = found.verdicts()
    assert list(verdicts.columns[:4]) == ["study", "model", "method", "measure"]
    assert set(verdicts["verdict"]) <= {"equal", "within tolerance"}
    assert len(found.table("sharpness")) == 4 * 2
    assert found.table().equals(next(iter(found.tables.values())))
    with pytest.raises(SuiteError, match=r"'sharpnes': not among .* did you mean 'sharpness'"):
        found.table("sharpnes")
    page = found.report(tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    assert (tmp_path / "out" / "tables" / "sharpness.csv").is_file()
    folder = found.run_dir
    del found
    gc.collect()
    assert not folder.exists()


def test_a_function_of_ones_own_is_a_method(net: nn.Module, photos: Tensor) -> None:
    found = suite.audit(net, photos, methods=[brightness, "saliency"], studies=["comparison"])
    pairs = found.table("comparison")
    assert {"brightness", "saliency"} == {*pairs["method"], *pairs["other_method"]}
    with pytest.raises(SuiteError, match="no name, mapping or function of a module's top level"):
        suite.audit(net, photos, methods=[lambda model, images, targets: images])


def test_the_network_is_found_as_it_was(net: nn.Module, photos: Tensor) -> None:
    net.train()
    net.act1.eval()
    net.first.requires_grad_(False)
    flags = [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()]
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    suite.audit(net, photos, methods=["saliency"], studies=["agreement"])
    with pytest.raises(SuiteError):
        suite.audit(net, photos, methods=["nothing of that name"])
    assert [(m.training, [p.requires_grad for p in m.parameters()]) for m in net.modules()] == flags
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_callers_threads_and_path_are_left_alone(net: nn.Module, photos: Tensor) -> None:
    threads, path = torch.get_num_threads(), list(sys.path)
    suite.audit(net, photos, methods=[brightness], studies=["sharpness"], threads=threads + 1)
    assert torch.get_num_threads() == threads
    with pytest.raises(SuiteError):
        suite.audit(net, photos, methods=["nothing of that name"], threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert sys.path == path


def test_the_normalisation_is_the_networks(net: nn.Module, photos: Tensor) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    found = suite.audit(net, photos, methods=["saliency"], studies=["sharpness"], mean=mean, std=std)
    scores = net((photos - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    confidence = found.rows.query("metric == 'confidence'")["value"]
    assert confidence.tolist() == pytest.approx(scores.softmax(1).amax(1).tolist())


@pytest.mark.parametrize(
    ("shape", "double", "train"),
    [
        ((1, 3, 32, 32), False, True),
        ((2, 3, 20, 33), False, False),
        ((2, 3, 4, 5), False, True),
        ((2, 3, 32, 32), True, False),
    ],
    ids=["one image, train mode", "not square", "tiny", "double precision"],
)  # fmt: skip
def test_what_must_simply_work(net: nn.Module, shape: tuple[int, ...], double: bool, train: bool) -> None:
    if double:
        net.double()
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = suite.audit(net.train(train), images, [1] * len(images), studies=["agreement", "comparison", "sharpness"])
    assert not (found.rows["status"] == "failed").any()
    assert set(found.verdicts()["verdict"]) == {"equal"}


def test_double_precision_of_the_trainer(net: nn.Module, photos: Tensor) -> None:
    found = suite.audit(net, photos, studies=["agreement"], trainer={"precision": "64-true"})
    assert set(found.verdicts()["verdict"]) == {"equal"}


def test_a_network_without_maps_of_its_own_is_audited_all_the_same() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    methods = ["saliency", "guided_backprop", "integrated_gradients"]
    found = suite.audit(Mlp(), images, ["cat", None], methods=methods, classes=["ant", "bee", "cat"])
    assert not (found.rows["status"] == "failed").any()
    assert set(found.verdicts()["verdict"]) == {"equal"}
    assert found.table("predictions")["label"].tolist() == ["cat", ""]
    cams = suite.audit(Mlp(), images, methods=["grad_cam", "guided_grad_cam", "saliency"]).rows
    rows = cams[(cams["study"] == "agreement") & (cams["method"] != "saliency")]
    assert set(rows["status"]) == {"not_applicable"}
    assert rows["message"].str.contains("no layer of this network gives a").all()
    with pytest.raises(SuiteError, match="'grad_cam' on Mlp: layer 'nowhere': this network has none"):
        suite.audit(Mlp(), images, methods=[{"name": "grad_cam", "layer": "nowhere"}])


def bad(**what: object) -> Callable[[nn.Module, Tensor], object]:
    def call(net: nn.Module, photos: Tensor) -> object:
        given = {"model": net, "images": photos, **{k: v for k, v in what.items() if not callable(v)}}
        given |= {k: v(net if k == "model" else photos) for k, v in what.items() if callable(v)}
        return suite.audit(**given)

    return call


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (bad(images=lambda x: (x - 0.5) / 0.25), r"images: values from -2 to 2, expected \[0, 1\].*before norm"),
        (bad(images=lambda x: (x * 255).byte()), r"images: expected floats in \[0, 1\], got torch.uint8: .* / 255"),
        (bad(images=lambda x: x[0]), r"images: expected \(B, 3, H, W\).* got shape \(3, 32, 32\)"),
        (bad(images=lambda x: x[:, :1]), r"images: expected \(B, 3, H, W\)"),
        (bad(images=lambda x: x * float("nan")), r"images: values from nan to nan"),
        (bad(images=lambda x: x.numpy()), r"images: expected a tensor \(B, 3, H, W\) or a folder's path, got ndarray"),
        (bad(images="no/such/folder"), r"no such file or folder"),
        (bad(labels=[0, 10, 0]), r"labels\[1\]: class index 10 is out of range 0\.\.9"),
        (bad(labels=[0, 0.5, 0]), r"labels\[1\]: expected a class index, a class name or None, got 0.5"),
        (bad(labels=torch.zeros(2)), r"labels: expected 3, one an image"),
        (bad(labels="labels.csv"), r"labels 'labels.csv': a file goes with a folder of images"),
        (bad(classes=["a", "b"]), r"gives 10 scores, but the list given names 2 classes"),
        (bad(mean=(0.5, 0.5)), r"audit: models.0.mean"),
        (bad(studies=["agrement"]), r"audit: studies.agrement: unknown key; did you mean 'agreement'"),
        (bad(studies="agreement"), r"studies: expected a list"),
        (bad(methods=["salency"]), r"did you mean 'saliency'"),
        (bad(model=lambda net: net.half()), r"weight 'first.weight' is torch.float16.*model.float\(\)"),
        (bad(model=lambda net: net.forward), r"model: expected a torch.nn.Module, got method"),
        (bad(model=lambda _: Wrapped(lambda y: {"out": y})), r"returned a dict, expected a tensor of scores"),
        (bad(model=lambda _: Wrapped(lambda y: (y, y))), r"returned a tuple, expected a tensor of scores"),
        (bad(model=lambda _: Wrapped(lambda y: y[0])), r"returned scores of shape \(10,\)"),
        (bad(model=lambda _: nn.Conv2d(3, 4, 64)), r"network 'Conv2d': fails on one 32x32 image"),
    ],
)  # fmt: skip
def test_what_cannot_be_audited_is_one_clear_line(
    net: nn.Module, photos: Tensor, call: Callable[[nn.Module, Tensor], object], line: str
) -> None:
    with pytest.raises(SuiteError, match=line) as caught:
        call(net, photos)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    notebook = tiny.ROOT / "docs" / "audit_your_network.ipynb"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", str(notebook)]
    done = subprocess.run(words, env=tiny.environment(), capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert '"outputs": []' in notebook.read_text()


def test_a_temporary_directory_goes_with_its_audit_and_one_of_ones_own_stays(tmp_path: Path) -> None:
    temporary, kept = Audit(None), Audit(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    folder = temporary.run_dir
    assert folder.is_dir()
    del temporary, kept
    gc.collect()
    assert not folder.exists()
    assert (tmp_path / "kept").is_dir()
