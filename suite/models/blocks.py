"""The blocks of a network, and their re-initialisation: seeded, every parameter reached, restored bit for bit."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from suite.core.layers import body_of
from suite.core.seeding import seed_of
from suite.core.state import in_use
from suite.core.torch_private import reset_parameters
from suite.errors import NetworkError, did_you_mean

Unit = Literal["block", "layer"]
Statistics = Literal["kept", "reset"]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm, nn.GroupNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


@dataclass(eq=False)
class Block:
    """Parameters that are randomised together: (module, names of its own parameters)."""

    name: str
    parts: list[tuple[nn.Module, tuple[str, ...]]]


def blocks_of(model: nn.Module, images: Tensor, unit: Unit = "block", names: Sequence[str] = ()) -> list[Block]:
    """All parameters of a network in blocks, from the input to the output, in the order in which a forward calls them.

    A block is the topmost module that is more than one layer and no mere container (a Fire, a BasicBlock, an Inception
    module, an encoder layer), the convolutions of a plain sequence between two poolings (VGG's stages), or a single
    layer. A normalisation belongs to the layer before it, a bare parameter (a class token) to the first block inside
    the module that owns it.

    Args:
        model: any network.
        images: (B, 3, H, W); the first is passed through, for the order.
        unit: "layer" makes every module that owns parameters a block.
        names: modules to take as blocks instead, each with all modules inside it.

    Raises:
        NetworkError: no parameters, a name that matches nothing, or a parameter that is in no block.
    """
    body = body_of(model)
    if not any(True for _ in body.parameters()):
        raise NetworkError(f"{type(body).__name__} has no parameters, so there is nothing to randomise")
    modules = dict(body.named_modules())
    for name in names:
        if name not in modules or not name:
            raise NetworkError(f"block {name!r} matches no module of the network{did_you_mean(name, modules)}")
    if names or unit == "layer":
        groups = [[name] for name in names or modules]
    else:
        groups = _merged(_walk(body, "", Counter(type(m) for m in modules.values())), modules)
    reached: set[int] = set()
    blocks = []
    for group in groups:
        block = Block(group[0], [])
        for name in group:
            inside = modules[name].modules() if names or unit == "block" else [modules[name]]
            block.parts += [(module, own) for module in inside if (own := _take(module, reached))]
        blocks.append(block)
    if not names:
        _add_bare(blocks, modules, reached)
    missed = [name for name, p in body.named_parameters() if id(p) not in reached]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        raise NetworkError(
            f"parameter {missed[0]!r}{more} is in no block, so it would not be randomised: name its module"
        )
    return _in_order(model, images[:1], [block for block in blocks if block.parts])


def _is_layer(module: nn.Module) -> bool:
    return not any(True for _ in module.children())


def _walk(module: nn.Module, name: str, kinds: Counter[type]) -> Iterator[list[str]]:
    """Names of modules that belong together, in order of definition."""
    stage: list[str] = []
    staged = type(module) is nn.Sequential and any(isinstance(m, _POOLS) for m in module)
    for key, child in module.named_children():
        path = f"{name}.{key}" if name else key
        if (staged and isinstance(child, nn.Conv2d | nn.Conv1d)) or (stage and isinstance(child, _NORMS)):
            stage.append(path)
            continue
        if stage and (isinstance(child, _POOLS) or not _is_layer(child)):
            yield stage
            stage = []
        if _opened(child, kinds):
            yield from _walk(child, path, kinds)
        elif any(True for _ in child.parameters()):
            yield [path]
    if stage:
        yield stage


def _opened(module: nn.Module, kinds: Counter[type]) -> bool:
    """Containers, and a module of a kind of its own that holds a sequence of blocks (ViT's encoder, a backbone)."""
    if type(module) in _CONTAINERS:
        return True
    if kinds[type(module)] > 1 or isinstance(module, _CONTAINERS):
        return False
    sequences = [m for m in module.modules() if type(m) in _CONTAINERS]
    return any(sum(not _is_layer(c) and bool(list(c.parameters())) for c in m.children()) > 1 for m in sequences)


def _merged(groups: Iterator[list[str]], modules: dict[str, nn.Module]) -> list[list[str]]:
    """A normalisation joins the group before it."""
    merged: list[list[str]] = []
    for group in groups:
        if merged and isinstance(modules[group[0]], _NORMS):
            merged[-1] += group
        else:
            merged.append(group)
    return merged


def _take(module: nn.Module, reached: set[int]) -> tuple[str, ...]:
    """Names of a module's own parameters that no block has yet; a shared parameter belongs to the first module."""
    own = tuple(name for name, p in module.named_parameters(recurse=False) if id(p) not in reached)
    reached |= {id(p) for p in module.parameters(recurse=False)}
    return own


def _add_bare(blocks: list[Block], modules: dict[str, nn.Module], reached: set[int]) -> None:
    """Parameters that an opened module owns itself join the first block inside it."""
    for path, module in modules.items():
        own = _take(module, reached)
        if not own:
            continue
        inside = [block for block in blocks if not path or block.name.startswith(f"{path}.")]
        if inside:
            inside[0].parts.insert(0, (module, own))
        else:
            blocks.append(Block(path, [(module, own)]))


def _in_order(model: nn.Module, image: Tensor, blocks: list[Block]) -> list[Block]:
    """By first call; a block that is never called (an auxiliary classifier) joins the one defined before it."""
    order: dict[nn.Module, int] = {}

    def note(module: nn.Module, _inputs: object) -> None:
        order.setdefault(module, len(order))

    with ExitStack() as hooks, in_use(model), torch.no_grad():
        for module in {module for block in blocks for module, _ in block.parts}:
            hooks.enter_context(module.register_forward_pre_hook(note))
        model(image.clone())
    ordered: list[tuple[int, Block]] = []
    for block in blocks:
        called = [order[module] for module, _ in block.parts if module in order]
        if called or not ordered:
            ordered.append((min(called, default=-1), block))
        else:
            ordered[-1][1].parts.extend(block.parts)
    return [block for _, block in sorted(ordered, key=lambda pair: pair[0])]


@contextmanager
def randomised(
    model: nn.Module,
    blocks: Sequence[Block],
    *,
    seed: int,
    draw: int,
    statistics: Statistics = "kept",
    jitter: float = 0.0,
) -> Iterator[None]:
    """Blocks re-initialised inside; all their parameters and buffers are put back, and that is asserted.

    Each module draws from the distribution that its own `reset_parameters` draws from; a parameter that no module
    initialises (a class token) from a normal with the mean and spread of its present values. A block's values depend on
    (seed, draw, block) alone: not on the other blocks, nor on the caller's random state, which is left as it was.

    Args:
        model: left as it was, also after an error.
        blocks: of `blocks_of`.
        seed: the run's.
        draw: which random network.
        statistics: batch norm's running mean and variance are kept (as Adebayo et al. 2018) or reset too.
        jitter: above 0, parameters are multiplied by 1 + jitter N(0, 1) instead.
    """
    tensors = [*model.parameters(), *model.buffers()]
    before = [t.detach().clone(memory_format=torch.preserve_format) for t in tensors]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for block in blocks:
                if jitter:
                    _shake(block, seed_of(seed, draw, block.name, "jitter"), jitter)
                else:
                    _reset(block, seed_of(seed, draw, block.name), statistics)
        yield
    finally:
        with torch.inference_mode(False), torch.no_grad():
            for tensor, saved in zip(tensors, before, strict=True):
                tensor.copy_(saved)
        if not all(torch.equal(t, saved) for t, saved in zip(tensors, before, strict=True)):
            raise NetworkError("the network could not be restored after randomisation")


def _shake(block: Block, seed: int, jitter: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module, own in block.parts:
        for name in own:
            parameter = module.get_parameter(name)
            parameter.mul_(1 + jitter * torch.randn(parameter.shape, generator=generator).to(parameter))


def _reset(block: Block, seed: int, statistics: Statistics) -> None:
    cuda = sorted({p.device.index for m, _ in block.parts for p in m.parameters(False) if p.is_cuda})
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        for module, own in block.parts:
            before = {name: p.clone() for name, p in module.named_parameters()}
            buffers = {name: b.clone() for name, b in module.named_buffers()}
            for name in own:
                module.get_parameter(name).fill_(torch.nan)
            reset_parameters(module)
            for name, values in before.items():
                parameter = module.get_parameter(name)
                if name not in own:
                    parameter.copy_(values)  # they have a turn, and a seed, of their own
                elif not bool(torch.isfinite(parameter).all()):
                    spread = values.std() if values.numel() > 1 else values.abs().max()
                    parameter.copy_(torch.randn(values.shape).to(values) * spread + values.mean())
            if statistics == "kept":
                for name, values in buffers.items():
                    module.get_buffer(name).copy_(values)
