"""Implementations that are right, and others with one fault each, in plain torch and nothing of the suite's."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def gradient(model: Callable[[Tensor], Tensor], x: Tensor, t: Tensor, out=lambda s: s) -> Tensor:
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        picked = out(model(x)).gather(1, t[:, None]).sum()
        return torch.autograd.grad(picked, x)[0]


def saliency(model: nn.Module, x: Tensor, t: Tensor) -> Tensor:
    return gradient(model, x, t).abs().amax(1, keepdim=True)


def saliency_one_by_one(model, x, t):
    """In another order of operations: each image alone, by backward() on a one-hot product, the weights frozen."""
    maps = []
    held = [(p, p.requires_grad) for p in model.parameters()]
    for p, _ in held:
        p.requires_grad_(False)
    with torch.enable_grad():
        for image, target in zip(x, t, strict=True):
            pixels = image.detach().clone().requires_grad_()
            scores = model(pixels[None])[0]
            (scores * F.one_hot(target, len(scores))).sum().backward()
            maps.append(pixels.grad.abs().max(dim=0, keepdim=True).values)
    for p, wanted in held:
        p.requires_grad_(wanted)
    return torch.stack(maps)


def absolute_gradient(model, x, t):
    return gradient(model, x, t).abs()


class _Rectify(torch.autograd.Function):
    """ReLU whose backward pass is a rule's, (mask of the forward, gradient from above) -> gradient below."""

    @staticmethod
    def forward(ctx, x, rule):
        ctx.save_for_backward(x > 0)
        ctx.rule = rule
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, above):
        return ctx.rule(ctx.saved_tensors[0], above), None


@contextmanager
def ruled(model, rule):
    """Each ReLU module computes by `_Rectify` for the duration."""
    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    for m in relus:
        m.forward = lambda x: _Rectify.apply(x, rule)
    try:
        yield
    finally:
        for m in relus:
            del m.forward


def guided(model, x, t, rule=lambda on, g: on * g.clamp(min=0)):
    with ruled(model, rule):
        return gradient(model, x, t)


def guided_by_hooks(model, x, t, keep=lambda g: g.clamp(min=0)):
    """With hooks on the modules, which must not be in place while a backward hook is on them."""
    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    held = [m.inplace for m in relus]
    handles = [m.register_full_backward_hook(lambda _m, below, _a: (keep(below[0]),)) for m in relus]
    try:
        for m in relus:
            m.inplace = False
        return gradient(model, x, t)
    finally:
        for m, inplace, handle in zip(relus, held, handles, strict=True):
            m.inplace = inplace
            handle.remove()


def guided_wrong_side(model, x, t):
    return guided_by_hooks(model, x, t, keep=lambda g: g.clamp(max=0))


def deconvolution(model, x, t):
    return guided(model, x, t, lambda on, g: g.clamp(min=0))


def weighted(a, g):
    return (a * g.mean((2, 3), keepdim=True)).sum(1, keepdim=True)


def inside(model, layer):
    return dict(getattr(model, "body", model).named_modules())[layer]


def cam(model, x, t, layer, combine=weighted, hand_on=torch.clone):
    kept = {}

    def keep(_m, _i, out):
        kept["a"] = out
        return hand_on(out)

    handle = inside(model, layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            picked = model(x.detach().clone().requires_grad_()).gather(1, t[:, None]).sum()
        return combine(kept["a"], torch.autograd.grad(picked, kept["a"])[0]).detach()
    finally:
        handle.remove()


def grad_cam(model, x, t, layer):
    return cam(model, x, t, layer).relu()


def grad_cam_signed(model, x, t, layer):
    return cam(model, x, t, layer)


def grad_cam_relu_before_sum(model, x, t, layer):
    return cam(model, x, t, layer, lambda a, g: (a * g.mean((2, 3), keepdim=True)).relu().sum(1, keepdim=True))


def grad_cam_relu_of_negated(model, x, t, layer):
    return (-cam(model, x, t, layer)).relu()


def grad_cam_wrong_layer(model, x, t, layer):
    names = [n for n, m in getattr(model, "body", model).named_modules() if isinstance(m, nn.Conv2d)]
    return cam(model, x, t, names[0]).relu()


def grad_cam_upsampled(model, x, t, layer):
    return F.interpolate(grad_cam(model, x, t, layer), size=x.shape[2:], mode="bilinear")


def grad_cam_overwritten(model, x, t, layer):
    """What is kept is the tensor itself, which an in-place ReLU writes over."""
    return cam(model, x, t, layer, hand_on=lambda out: None).relu()


def guided_grad_cam(model, x, t, layer, mode="nearest"):
    return guided(model, x, t) * F.interpolate(grad_cam(model, x, t, layer), size=x.shape[2:], mode=mode)


def guided_grad_cam_bilinear(model, x, t, layer):
    return guided_grad_cam(model, x, t, layer, "bilinear")


def integrated_gradients(model, x, t):
    nodes, weights = np.polynomial.legendre.leggauss(50)
    total = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient(model, float(node) * x, t)
    return total * x


def integrated_gradients_right_sum(model, x, t):
    return sum(gradient(model, k / 20 * x, t) for k in range(1, 21)) / 20 * x


def input_x_gradient(model, x, t):
    return x * gradient(model, x, t)


def softmax(model, x, t):
    return gradient(model, x, t, lambda s: s.softmax(1)).abs().amax(1, keepdim=True)


def mean_for_max(model, x, t):
    return gradient(model, x, t).abs().mean(1, keepdim=True)


def missing_abs(model, x, t):
    return gradient(model, x, t).amax(1, keepdim=True)


def batch_maximum(model, x, t):
    found = saliency(model, x, t)
    return found / found.max()


def mean_loss(model, x, t):
    return saliency(model, x, t) / len(x)


def first_target(model, x, t):
    return saliency(model, x, t[:1].expand_as(t))


def train_mode(model, x, t):
    model.train()
    return saliency(model, x, t)


def off_by_one(model, x, t):
    return saliency(model, x, t + 1)


def off_by_one_before(model, x, t):
    return saliency(model, x, (t - 1) % 7)


def twice_normalised(model, x, t):
    return saliency(lambda z: model((z - MEAN) / STD), x, t)


def detached_at_relus(model, x, t):
    handles = [m.register_forward_hook(lambda _m, _i, o: o.detach()) for m in model.modules() if isinstance(m, nn.ReLU)]
    try:
        return saliency(model, x, t)
    except RuntimeError:
        return torch.zeros_like(x[:, :1])
    finally:
        for handle in handles:
            handle.remove()


def detached_at_branch(model, x, t):
    branch = getattr(model, "branch", None)
    handle = branch.register_forward_hook(lambda _m, _i, o: o.detach()) if branch is not None else None
    try:
        return saliency(model, x, t)
    finally:
        if handle is not None:
            handle.remove()


def half_precision(model, x, t):
    try:
        return saliency(model.half(), x.half(), t).float()
    finally:
        model.float()


def autocast(model, x, t):
    with torch.autocast("cpu", torch.bfloat16):
        return saliency(model, x, t)


_KEPT: list[Tensor] = []


def leak(model, x, t):
    found = saliency(model, x, t)
    _KEPT.append(found.clone())
    return found


def needs_gradients_enabled(model, x, t):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, t[:, None]).sum(), x)[0].abs().amax(1, keepdim=True)


def backward_into_weights(model, x, t):
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        model(x).gather(1, t[:, None]).sum().backward()
    return x.grad.abs().amax(1, keepdim=True)


def images_overwritten(model, x, t):
    found = saliency(model, x, t)
    x.mul_(0)
    return found


def one_pixel(model, x, t):
    found = saliency(model, x, t)
    found[0, 0, 3, 4] = 0
    return found


def target_zero(model, x, t):
    """`target or top class`, where 0 is a class."""
    return saliency(model, x, torch.where(t == 0, torch.full_like(t, 3), t))


_CALLS = [0]


def stateful(model, x, t):
    """Right until it has been called a few times."""
    _CALLS[0] += 1
    return saliency(model, x, t) * (1 if _CALLS[0] <= 5 else 1.01)


def forgets_nothing(model, x, t):
    """Leaves a hook behind that scales what comes after."""
    found = saliency(model, x, t)
    model.register_forward_hook(lambda _m, _i, out: out * 1.5)
    return found


def nan(model, x, t):
    found = saliency(model, x, t)
    found[1, 0, 0, 0] = torch.nan
    return found


def none(model, x, t):
    return None


def three_dimensions(model, x, t):
    return saliency(model, x, t)[:, 0]


def raising(model, x, t):
    raise ValueError("no such thing")


def leaving(model, x, t):
    raise SystemExit(0)


def zeros(model, x, t):
    return torch.zeros_like(x[:, :1])


def doubled(model, x, t):
    return saliency(model, x, t) * 2


def negated(model, x, t):
    return -gradient(model, x, t)


def pretty(model, x, t):
    """As it would be drawn: each image between 0 and 1."""
    found = saliency(model, x, t)
    low, high = found.amin((1, 2, 3), keepdim=True), found.amax((1, 2, 3), keepdim=True)
    return (found - low) / (high - low)


def loss_gradient(model, x, y):
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(x), y), x)[0]


def fgsm(model, x, y, eps=8 / 255):
    return (x + eps * loss_gradient(model, x, y).sign()).clamp(0, 1)


def fgsm_descending(model, x, y):
    return fgsm(model, x, y, -8 / 255)


def fgsm_unclamped(model, x, y):
    return x + 8 / 255 * loss_gradient(model, x, y).sign()


def fgsm_half_epsilon(model, x, y):
    return fgsm(model, x, y, 4 / 255)


def fgsm_unsigned(model, x, y):
    return (x + 8 / 255 * loss_gradient(model, x, y)).clamp(0, 1)


def fgsm_one_pixel(model, x, y):
    found = fgsm(model, x, y)
    found[-1, 1, 5, 5] = x[-1, 1, 5, 5]
    return found


def fgsm_off_by_one(model, x, y):
    return fgsm(model, x, y + 1)


def pgd(model, x, y, start=0.0, steps=10):
    found = (x + start).clamp(0, 1)
    for _ in range(steps):
        found = found + 2 / 255 * loss_gradient(model, found, y).sign()
        found = (x + (found - x).clamp(-8 / 255, 8 / 255)).clamp(0, 1)
    return found


def pgd_seeded(model, x, y):
    return pgd(model, x, y, torch.empty_like(x).uniform_(-8 / 255, 8 / 255))


def pgd_unprojected(model, x, y):
    found = x
    for _ in range(10):
        found = (found + 2 / 255 * loss_gradient(model, found, y).sign()).clamp(0, 1)
    return found


def pgd_nine_steps(model, x, y):
    return pgd(model, x, y, steps=9)
