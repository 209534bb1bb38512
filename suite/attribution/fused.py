"""Several maps for the price of the fewest passes: gradient methods share one pass, sampled ones come after."""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor, nn

from suite.attribution.base import Attribution, SharedPass
from suite.core.draws import image_ids
from suite.core.memory import in_halves
from suite.core.network import Network
from suite.core.numerics import numerics
from suite.core.passes import (
    Cost,
    Targets,
    as_targets,
    check_images,
    checked,
    cost_of,
    digests,
    pixel_range,
    run_pass,
    unchecked,
)
from suite.core.state import guarded, in_use
from suite.errors import ConfigError, DataError, NetworkError
from suite.registry import attributions, build, check_parameters, find, refuse_not_finite

log = logging.getLogger("suite")

Method = Attribution | Callable[..., Tensor]
_BEYOND = 0.1  # of [0, 1]: noise may lead that far, a second normalisation leads further


@dataclass(frozen=True)
class Custom(Attribution):
    """A user's own function `(model, images, targets, **parameters) -> (B, C, h, w)`."""

    function: Callable[..., Tensor]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, model: nn.Module, images: Tensor, targets: Targets, ids: Sequence[str] | None = None) -> Tensor:
        images = check_images(images)
        with in_use(model), unchecked(), guarded(model, f"method {self._name!r}"):
            result = self.function(model, images.clone(), as_targets(targets, images).clone(), **self.parameters)
        return check_map(result, images, self._name)

    def cost(self) -> Cost:
        return Cost(1, 1)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{self.function.__module__}:{self._name}({parameters})"


def check_map(result: object, images: Tensor, name: str) -> Tensor:
    """The map, detached; a clear line where it is not (B, C, h, w)."""
    if not isinstance(result, Tensor) or result.ndim != 4 or len(result) != len(images):
        got = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        raise NetworkError(f"method {name!r}: expected a map (B={len(images)}, C, h, w), got {got}")
    if not result.is_floating_point() or not result.numel():
        got = f"{result.dtype} of shape {tuple(result.shape)}"
        raise NetworkError(f"method {name!r}: expected a map of floating point numbers, got {got}")
    return result.detach()


def make_method(name: str, parameters: Mapping[str, Any] | None = None) -> Attribution:
    """A method by registry name, entry point or `package.module:object`, with its parameters checked.

    A dataclass of `Attribution` is built with them; any other class that is callable once built likewise; a function
    `(model, images, targets, ...)` takes them as keyword arguments.
    """
    parameters = dict(parameters or {})
    target = find("method", attributions(), name)
    if isinstance(target, type):
        method = build("method", name, target, parameters)
        if not callable(method):
            raise ConfigError(f"method {name!r}: {target.__name__} is not callable; expected (model, images, targets)")
        return method if isinstance(method, Attribution) else Custom(method)
    if not callable(target):
        raise ConfigError(f"method {name!r}: not a function or a class, but a {type(target).__name__}")
    checked = check_parameters("method", name, target, parameters, skip=3)
    try:
        inspect.signature(target).bind(None, None, None, **checked)
    except (TypeError, ValueError) as error:  # a function written in C may have no signature
        raise ConfigError(f"method {name!r}: expected a function (model, images, targets, ...): {error}") from None
    return Custom(target, checked)


def as_methods(methods: Iterable[str | Method] | Mapping[str, str | Method]) -> dict[str, Attribution]:
    """Names and methods -> label: method. Unlabelled methods are named by registry name, else by their `repr`."""
    if isinstance(methods, str):
        raise ConfigError(f"methods: expected a list, for example [{methods!r}], got a string")
    pairs = methods.items() if isinstance(methods, Mapping) else [(None, m) for m in methods]
    labelled: dict[str, Attribution] = {}
    for label, item in pairs:
        if isinstance(item, str):
            method = make_method(item)
        elif callable(item):
            method = item if isinstance(item, Attribution) else Custom(item)
        else:
            raise ConfigError(f"methods: expected names or methods, got {item!r:.60}")
        refuse_not_finite(f"method {type(method).__name__}", vars(method))
        title = label or (item if isinstance(item, str) else repr(method))
        if title in labelled:
            raise ConfigError(f"methods: {title!r} appears twice; pass a dict with a label for each")
        labelled[title] = method
    return labelled


def plan_cost(methods: Iterable[Attribution]) -> Cost:
    """Passes an image for all methods together: one shared by gradient methods, and each other method's own."""
    methods = list(methods)
    needs = [m.needs() for m in methods if isinstance(m, SharedPass)]
    shared = cost_of(reduce(or_, needs)) if needs else Cost()
    return sum((m.cost() for m in methods if not isinstance(m, SharedPass)), shared)


@numerics()
def attribute(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    methods: Iterable[str | Method] | Mapping[str, str | Method],
    *,
    ids: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Maps of several methods, in the fewest passes.

    Args:
        model: (B, 3, H, W) -> (B, K) unnormalised scores; found afterwards exactly as it was.
        images: (B, 3, H, W), in the units the network takes ([0, 1] for the suite's networks).
        targets: the class explained: one for all, or one an image.
        methods: names, method objects or functions; or a dict label -> one of these.
        ids: names of the images, which seed what is random in a method.

    Returns:
        label -> (B, C, h, w), detached, in the order asked.

    A device whose memory does not hold all images is given halves of them, and a warning says so.

    Raises:
        DataError: images that are not finite or, for the suite's networks, far outside [0, 1]; a target out of range.
        NotApplicable: where a method is undefined on this network; `attribute_each` returns these instead.
    """
    labelled = as_methods(methods)
    with unchecked(), checked(images, targets) as (images, targets):
        least, most = pixel_range()
        if isinstance(model, Network) and (least < -_BEYOND or most > 1 + _BEYOND):
            raise DataError(
                f"images: values from {least:.3g} to {most:.3g}; this network takes RGB in [0, 1] and normalises itself"
            )
        if not labelled:
            return {}
        names = image_ids(images, ids if ids is not None else digests())

        def of_part(at: slice) -> dict[str, Tensor]:
            part = (images, targets, names) if at == whole else (images[at], targets[at], names[at])
            return _all_maps(model, *part, labelled)

        whole = slice(0, len(images))
        parts = in_halves(of_part, whole)
    if len(parts) > 1:
        largest = max(len(next(iter(part.values()))) for part in parts)
        log.warning("out of memory with %d images at once, done %d at a time", len(images), largest)
    return {label: torch.cat([part[label] for part in parts]) for label in labelled} if len(parts) > 1 else parts[0]


def _all_maps(
    model: nn.Module, images: Tensor, targets: Tensor, ids: Sequence[str], methods: Mapping[str, Attribution]
) -> dict[str, Tensor]:
    maps = {}
    for label, result in attribute_each(model, images, targets, methods, ids=ids).items():
        if isinstance(result, Exception):
            raise result
        maps[label] = result
    return maps


def attribute_each(
    model: nn.Module,
    images: Tensor,
    targets: Targets,
    methods: Mapping[str, Attribution],
    *,
    ids: Sequence[str] | None = None,
) -> dict[str, Tensor | Exception]:
    """As `attribute`, but a method that is undefined here, or fails, leaves its exception beside the others' maps.

    What concerns all of them (the images, the shared pass, memory) is raised.
    """
    needs = [method.needs() for method in methods.values() if isinstance(method, SharedPass)]
    results = {}
    with checked(images, targets) as (images, targets):
        shared = run_pass(model, images, targets, reduce(or_, needs)) if needs else None
        for label, method in methods.items():
            if shared is not None and isinstance(method, SharedPass):
                results[label] = _attempt(partial(method.from_pass, shared))
            else:
                results[label] = _attempt(partial(method, model, images, targets, ids))
    return results


def _attempt(make: Callable[[], Tensor]) -> Tensor | Exception:
    try:
        return make()
    except torch.OutOfMemoryError:
        raise
    except SystemExit as stop:
        return RuntimeError(f"it called sys.exit({stop.code!r})")
    except Exception as error:  # a user's method may raise anything, and must not cost the others their maps
        return error
