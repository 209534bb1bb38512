"""`import torchvision` beside a torch that cannot load its operators: each case in a process of its own."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import suite

NEED_TORCHVISION = {"torchvision", "captum", "torchattacks", "timm", "torchmetrics", "pytorch_lightning"}
PACKAGE = Path(suite.__path__[0])
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "_torchvision.py")


def quiet(code, **environment):
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def python(code, **environment):
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def stand_in(tmp_path):
    """The environment in which `torchvision` is an empty package whose compiled part is a file named _C.so."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").touch()
    (tmp_path / "torchvision" / "_C.so").touch()
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])}


@pytest.mark.slow
def test_everything_that_imports_torchvision_can_be_imported_without_a_word():
    pytest.importorskip("timm", reason="the extra `networks` is not installed")
    quiet("import suite._torchvision, torchvision, captum.attr, torchattacks, timm, torchmetrics, pytorch_lightning")


@pytest.mark.slow
def test_the_case_is_real_here():
    """Not a test of ours: shows what the module is for, where torch cannot load torchvision's operators."""
    done = python("import torchvision")
    if done.returncode == 0:
        pytest.skip("this torch loads torchvision's operators, so there is nothing to mend")
    assert "operator torchvision::nms does not exist" in done.stderr


@pytest.mark.slow
def test_operators_that_the_extension_brings_are_left_alone(stand_in):
    printed = quiet(
        """
import torch
library = torch.library.Library("torchvision", "DEF")
def load(path):
    print(path.name)
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
def define(name, *args, **kwargs):
    raise AssertionError(name + " was declared over an operator that exists")
torch.ops.load_library, torch.library.define = load, define
import suite._torchvision
""",
        **stand_in,
    )
    assert printed == ["_C.so"]


@pytest.mark.parametrize(
    ("there", "declared"),
    [
        ("", ["nms", "qnms"]),
        pytest.param("nms", ["qnms"], marks=pytest.mark.slow),
        pytest.param("nms qnms", [], marks=pytest.mark.slow),
    ],
)
def test_what_is_missing_is_declared_and_nothing_else(stand_in, there, declared):
    printed = quiet(
        f"""
import torch
real = torch.library.define
for name in {there.split()}:
    real("torchvision::" + name, "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
def define(name, schema):
    print(name)
    real(name, schema)
torch.library.define = define
import suite._torchvision
assert torch.ops.torchvision.nms and torch.ops.torchvision.qnms
""",
        **stand_in,
    )
    assert printed == [f"torchvision::{name}" for name in declared]


def test_a_second_call_declares_nothing():
    from suite._torchvision import declare_missing_operators

    assert declare_missing_operators() == []


def test_it_hands_on_torchvision_itself():
    from suite._torchvision import torchvision as handed_on

    import torchvision

    assert handed_on is torchvision
    assert handed_on.models.squeezenet1_1 is torchvision.models.squeezenet1_1


def late_imports(tree):
    """(line, name) of each import that needs torchvision with no import of suite._torchvision above it in its scope."""
    found = []

    def visit(statements, mended):
        for node in statements:
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
            else:
                names = set()
            if "suite._torchvision" in names:
                mended = True
            elif not mended:
                found.extend((node.lineno, name) for name in names if name.split(".")[0] in NEED_TORCHVISION)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            for block in ("body", "orelse", "finalbody"):
                visit(getattr(node, block, []) if isinstance(getattr(node, block, []), list) else [], mended)
            for handler in getattr(node, "handlers", []):
                visit(handler.body, mended)

    visit(tree.body, mended=False)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_each_file_mends_torchvision_before_it_imports_it(file):
    assert late_imports(ast.parse(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import torchvision",
        "import captum.attr\nimport suite._torchvision",
        "from timm import create_model",
        "def one():\n    import suite._torchvision\ndef two():\n    import torchattacks",
        "try:\n    import timm\nexcept ImportError:\n    pass",
    ],
)
def test_that_check_finds_planted_faults(code):
    assert late_imports(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import suite._torchvision\nimport captum",
        "from suite import _torchvision\ndef one():\n    import captum.attr",
        "from suite._torchvision import torchvision\nfrom torchvision.models import vgg16",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torchvision",
    ],
)
def test_that_check_lets_right_ones_pass(code):
    assert late_imports(ast.parse(code)) == []
