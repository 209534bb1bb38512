"""What the graph of a forward pass says: which nodes lie between, and what they compute."""

import pytest
import torch
import torch.nn.functional as F

from suite.core.graph import gradient_path, metadata, nodes_below, operation, rectifies, relu_between, unruled


def test_the_path_leads_from_the_score_to_the_pixels_alone():
    x, w = torch.rand(2, 3, requires_grad=True), torch.rand(3, requires_grad=True)
    total = ((x * 2).relu() * w.exp()).sum()
    path = gradient_path(total, x)
    assert {operation(node) for node in path} == {"Sum", "Mul", "Relu", ""}  # "" accumulates the gradient of x
    assert {operation(node) for node in nodes_below(total)} == {"Sum", "Mul", "Relu", "Exp", ""}
    relu = next(node for node in path if operation(node) == "Relu")
    assert [operation(above) for above in path[relu]] == ["Mul"]
    assert {operation(node) for node in nodes_below(total, lambda node: node is relu)} == {"Sum", "Mul", "Exp", ""}
    metadata(relu)["mark"] = 3
    assert metadata(next(node for node in gradient_path(total, x) if node is relu))["mark"] == 3


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (F.relu, "ReLU"),
        (F.relu6, "ReLU6"),
        (lambda h: h.clamp(0, 2.5), "ReLU2.5"),
        (lambda h: h.clamp(min=torch.zeros(3)), "ReLU"),
        (lambda h: h.clamp(-1, 1), ""),
        (torch.tanh, ""),
    ],
)
def test_what_rectifies(function, kind):
    assert rectifies(function(torch.rand(2, 3, requires_grad=True)).grad_fn) == kind


def test_between_floor_and_ceiling():
    assert [relu_between(*pair) for pair in ((0, None), (0.0, 6), (0, -1), (None, 6), (1, None))] == [
        "ReLU", "ReLU6", "", "", "",
    ]  # fmt: skip


def test_a_mask_of_the_activations_size_is_no_scale():
    x = torch.rand(2, 3, requires_grad=True)
    for factor, spelling in ((torch.tensor([[0.0, 1, 1], [1, 0, 1]]), "a mask of 0 and 1"), (torch.tensor(2.0), "")):
        product = x * factor
        assert unruled(product.grad_fn, gradient_path(product.sum(), x)) == spelling
