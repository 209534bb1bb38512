"""What the suite takes from torch's private parts works as described, and stands in one file."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import suite
from suite.core import torch_private

ROOT = Path(suite.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def test_what_a_node_keeps():
    x = torch.tensor([[-1.0, 2.0, 3.0]], requires_grad=True)
    clamp, product = x.clamp(0.0, 2.5).grad_fn, (x * torch.ones(3)).grad_fn
    assert (torch_private.saved(clamp, "min"), torch_private.saved(clamp, "max")) == (0.0, 2.5)
    assert torch.equal(torch_private.saved(product, "other"), torch.ones(3))
    assert torch_private.saved(product, "weight") is None
    assert torch_private.output_shape(x.sum(1).grad_fn) == (1,)
    tall = torch.nn.functional.relu6(x).grad_fn
    assert (torch_private.saved(tall, "min_val"), torch_private.saved(tall, "max_val")) == (0.0, 6.0)
    indexed = x[:, torch.tensor([True, False, True])].grad_fn
    assert [i is not None for i in torch_private.saved(indexed, "indices")] == [False, True]


def test_views():
    whole = torch.zeros(4)
    view = whole[:2]
    assert torch_private.base_of(view) is whole
    assert torch_private.base_of(whole) is None


def test_attention_has_an_initialisation_of_its_own():
    attention = torch.nn.MultiheadAttention(4, 2)
    with torch.no_grad():
        attention.in_proj_weight.fill_(torch.nan)
    torch_private.reset_parameters(attention)
    assert bool(attention.in_proj_weight.isfinite().all())
    torch_private.reset_parameters(torch.nn.ReLU())  # has none


def test_allocations_add_up():
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = torch.zeros(1000)
        torch.zeros(500)
    sizes = list(torch_private.allocations(seen))
    assert {4000, 2000, -2000} <= set(sizes)
    assert sum(sizes) == kept.nbytes


def test_autograds_complaints_are_known_by_their_words():
    x, aside = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    for total, source in ((x.detach().sum(), x), (x.sum(), aside)):
        with pytest.raises(RuntimeError) as caught:
            torch.autograd.grad(total, source)
        assert torch_private.says_detached(caught.value)
    assert not torch_private.says_detached(RuntimeError("another"))


def test_bf16_is_a_yes_or_a_no():
    assert isinstance(torch_private.cpu_computes_bf16(), bool)


TEXTS = ("_saved_", "_reset_parameters")


def _private_names(tree):
    """(line, name) of underscored attributes, and of the strings that name what autograd keeps."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(TEXTS):
            yield node.lineno, node.value
        elif isinstance(node, ast.Attribute) and node.attr == "kineto_results":
            yield node.lineno, node.attr


def _defined_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
PUBLIC = {"_torchvision", "_fields", "_replace"}  # the last two are namedtuple's
OWN = PUBLIC | {name for tree in TREES.values() for name in _defined_names(tree)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_touches_what_is_private_elsewhere(path):
    if path.name != "torch_private.py":
        assert [place for place in _private_names(TREES[path]) if place[1] not in OWN] == []


def test_the_search_sees_private_names():
    planted = ast.parse("t._base\nt.profiler.kineto_results\ngetattr(n, '_saved_self')\nself._hidden = 1\nt.grad_fn")
    assert {name for _, name in _private_names(planted)} >= {"_base", "kineto_results", "_saved_self"}
    fence = TREES[ROOT / "core" / "torch_private.py"]
    assert len({name for _, name in _private_names(fence) if name not in OWN}) >= 6
    assert np.ndarray.__new__(np.ndarray, (0,), b"b").shape == (0,)  # how models/embedded.py begins an array
