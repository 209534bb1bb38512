"""Networks by provider: embedded, torchvision, timm, one's own factory; weights random, by enum, or from a file.

The only downloads are torchvision's and timm's, of their own weights. A file of weights is read with `weights_only` or
as safetensors, never unpickled.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from suite.config import NetworkConfig, validate
from suite.core.classes import ClassNames
from suite.core.layers import default_layer
from suite.core.network import Card, Network, scores_of, zero_input
from suite.core.state import in_use
from suite.errors import NetworkError, NotApplicable, SuiteError, did_you_mean, one_line
from suite.models import embedded
from suite.models.embedded import Source, Triple
from suite.registry import build, load_object

log = logging.getLogger("suite")
_AS_IT_IS: tuple[Triple, Triple] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std of a network that takes [0, 1]

EMBEDDED: dict[str, Callable[[], Source]] = {
    "squeezenet1_1": embedded.squeezenet1_1,
    "efficientnet_lite0": embedded.efficientnet_lite0,
}


def load_model(name: str | NetworkConfig, **options: Any) -> Network:
    """A network by name, in eval mode, that owns its normalisation.

    Args:
        name: `squeezenet1_1`, `efficientnet_lite0` (embedded), a name of torchvision's or timm's, or a NetworkConfig.
        options: fields of NetworkConfig, such as `weights="random"`, `seed=1`, `factory="package.module:function"`.

    Returns:
        A `Network`: (B, 3, H, W) RGB in [0, 1] -> (B, K) unnormalised scores.

    Raises:
        NetworkError: it cannot be loaded; the line names the file and the remedy.
        ConfigError: where an option is not one of NetworkConfig's.
    """
    if isinstance(name, NetworkConfig):
        config = name
    else:
        config = validate({"models": [{"name": name, **options}]}, f"network {name!r}").models[0]
    return _network(config, _from_factory(config) if config.factory else _by_name(config))


def wrap(body: nn.Module, config: NetworkConfig, classes: Sequence[str] | None = None) -> Network:
    """A module as a `Network` of the suite; `body` itself is used, and put into eval mode.

    Args:
        body: (B, 3, H, W) -> (B, K) unnormalised scores.
        config: its name, `mean` and `std` (by default it takes pixels in [0, 1]), `input_size`, `classes`, ...
        classes: names, instead of a file of them.
    """
    names = ClassNames(tuple(classes)) if classes is not None else None
    return _network(config, Source(body, "in hand", *_AS_IT_IS), names)


def _network(config: NetworkConfig, source: Source, names: ClassNames | None = None) -> Network:
    body, size, resize = source.body, source.input_size, source.resize
    if config.input_size is not None:
        height, width = [config.input_size] * 2 if isinstance(config.input_size, int) else config.input_size
        size, resize = (height, width), None
    if _is_file(config.weights):
        _load_file(body, config)
    for name, tensor in body.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NetworkError(f"network {config.title!r}: weights {name!r} hold NaN or infinity; the file is damaged")
    card = Card(
        name=config.title,
        provider=source.provider,
        digest=weights_digest(body),
        input_size=size,
        resize=resize if config.resize is None else config.resize,
        classes=_classes(config, source, _count_scores(body, size, config.title), names),
        layer=config.layer,
    )
    network = Network(body, config.mean or source.mean, config.std or source.std, card).eval()
    with suppress(NotApplicable):  # methods that need such a layer report it
        network.card = replace(card, layer=default_layer(network, zero_input(body, size)))
    return network


def weights_digest(model: nn.Module) -> str:
    """blake2b over names, shapes and bytes of all weights and buffers."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(array.shape)}{array.dtype}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def known_networks() -> dict[str, list[str]]:
    """Names by provider; timm's are left out where timm is not installed."""
    from suite._torchvision import torchvision

    networks = {"embedded": list(EMBEDDED), "torchvision": torchvision.models.list_models(module=torchvision.models)}
    timm = embedded.import_timm()
    return networks | ({"timm": timm.list_models()} if timm is not None else {})


def _by_name(config: NetworkConfig) -> Source:
    name, provider, own_weights = config.name, config.provider, config.weights == "default"
    if provider == "embedded" or (provider == "auto" and name in EMBEDDED and own_weights):
        if name not in EMBEDDED:
            raise NetworkError(f"network {name!r}: not embedded{did_you_mean(name, EMBEDDED)}")
        if not own_weights:
            raise NetworkError(
                f"network {name!r}: an embedded network has its own weights, not {config.weights!r}; "
                "leave out `provider` for others"
            )
        return EMBEDDED[name]()
    from suite._torchvision import torchvision

    others = torchvision.models.list_models(module=torchvision.models)
    if provider == "torchvision" or (provider == "auto" and name in others):
        if name not in others:
            raise NetworkError(f"network {name!r}: not in torchvision{did_you_mean(name, others)}")
        return _from_torchvision(config, torchvision)
    timm = embedded.import_timm()
    if timm is None:
        where = "is one of timm's" if provider == "timm" else "is not embedded and not in torchvision"
        raise NetworkError(
            f"network {name!r} {where}{did_you_mean(name, [*EMBEDDED, *others])}"
            "; for timm's networks: pip install 'saliency-suite[networks]'"
        )
    return _from_timm(config, timm, [*EMBEDDED, *others])


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Random weights from a seed, leaving the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _is_file(weights: str) -> bool:
    return Path(weights).suffix in (".safetensors", ".pth", ".pt")


def _from_torchvision(config: NetworkConfig, torchvision: Any) -> Source:
    get_model = partial(torchvision.models.get_model, config.name)
    enum = torchvision.models.get_model_weights(config.name)
    if config.weights == "random" or _is_file(config.weights):
        options = {"init_weights": True, "aux_logits": True} if config.name in ("googlenet", "inception_v3") else {}
        body = _seeded(lambda: get_model(weights=None, **options), config.seed)
        return Source(body, f"torchvision {config.name}", **(_preset(enum.DEFAULT) if len(enum) else {}))
    names = {w.name: w for w in enum}
    if config.weights == "default":
        weights = names.get("IMAGENET1K_V1", enum.DEFAULT)
    elif config.weights in names:
        weights = names[config.weights]
    else:
        raise NetworkError(
            f"network {config.name!r}: no weights {config.weights!r}; torchvision has {', '.join(names)}; "
            "or say random, or give a .safetensors / .pth file"
        )
    cache = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    try:
        _check_cached(cache)
        # By its enum, because that also sets what the weights imply (Inception's and GoogLeNet's `transform_input`).
        body = get_model(weights=weights, progress=False)
    except Exception as error:
        raise NetworkError(
            f"network {config.name!r}: weights {weights.name} cannot be had ({type(error).__name__}: "
            f"{one_line(error, 120)}); looked for {cache.name} in torch.hub's checkpoints folder "
            f"($TORCH_HOME/hub/checkpoints); put {weights.url} there, or use `weights: random`, a local file, "
            "or squeezenet1_1, which is embedded"
        ) from None
    return Source(body, f"torchvision {config.name} {weights.name}", **_preset(weights))


def _check_cached(path: Path) -> None:
    """torch.hub checks a file's digest, of which its name carries the beginning, only when it downloads it."""
    expected = path.stem.rpartition("-")[2]
    if not path.is_file() or not re.fullmatch(r"[0-9a-f]{8,}", expected):
        return
    digest = embedded.sha256_of(path)
    if not digest.startswith(expected):
        raise NetworkError(
            f"its SHA-256 begins with {digest[:8]}, not {expected}: half-written or another file, delete it"
        )


def _preset(weights: Any) -> dict[str, Any]:
    transforms = weights.transforms()
    return {
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
        "input_size": (transforms.crop_size[0], transforms.crop_size[0]),
        "resize": transforms.resize_size[0],
    }


def _from_timm(config: NetworkConfig, timm: Any, others: list[str]) -> Source:
    if not timm.is_model(config.name.split(".")[0]):
        hint = did_you_mean(config.name, [*others, *timm.list_models()])
        raise NetworkError(f"network {config.name!r}: known to no provider{hint or ' (`suite list models`)'}")
    random = config.weights == "random" or _is_file(config.weights)
    try:
        body = _seeded(lambda: timm.create_model(config.name, pretrained=not random), config.seed)
    except Exception as error:
        raise NetworkError(
            f"network {config.name!r}: timm could not provide its weights ({type(error).__name__}: "
            f"{one_line(error, 120)}); use `weights: random` or a local .safetensors file"
        ) from None
    data = timm.data.resolve_model_data_config(body)
    size = tuple(data["input_size"][1:])
    resize = int(size[0] / data.get("crop_pct", 0.875))
    return Source(body, f"timm {config.name}", tuple(data["mean"]), tuple(data["std"]), size, resize)


def _from_factory(config: NetworkConfig) -> Source:
    factory = load_object(config.factory)
    try:
        body = _seeded(lambda: build("factory", config.factory, factory, config.parameters), config.seed)
    except SuiteError:
        raise
    except Exception as error:  # somebody's own code may raise anything
        raise NetworkError(f"factory {config.factory}: {type(error).__name__}: {error}") from error
    if not isinstance(body, nn.Module):
        raise NetworkError(f"factory {config.factory}: returned a {type(body).__name__}, expected a torch.nn.Module")
    return Source(body, f"factory {config.factory}", *_AS_IT_IS, resize=None, imagenet=False)


def _count_scores(body: nn.Module, size: tuple[int, int], title: str) -> int:
    try:
        with in_use(body), torch.no_grad():
            scores = scores_of(body, zero_input(body, size))
        if not bool(torch.isfinite(scores).all()):
            raise NetworkError("its scores of a black image hold NaN or infinity; expected finite, unnormalised scores")
        for form, shares in (("probabilities", scores), ("log-probabilities", scores.double().exp())):
            if scores.shape[1] > 1 and bool((shares >= 0).all()) and abs(float(shares.sum()) - 1) < 1e-4:
                log.warning(
                    "network %r: its scores are %s; give those before the softmax, for the gradient of a probability "
                    "mixes classes and vanishes (docs/studies/differentiate.md)", title, form,
                )  # fmt: skip
        return scores.shape[1]
    except NetworkError as error:
        raise NetworkError(f"network {title!r}: {error}") from None
    except Exception as error:
        raise NetworkError(
            f"network {title!r}: fails on one {size[0]}x{size[1]} image ({type(error).__name__}: "
            f"{one_line(error)}); set `input_size` to what it takes"
        ) from None


def _classes(config: NetworkConfig, source: Source, count: int, names: ClassNames | None) -> ClassNames:
    if not config.classes and names is None:
        imagenet = ClassNames.imagenet()
        return imagenet if source.imagenet and count == len(imagenet) else ClassNames.indices(count)
    classes = names if names is not None else ClassNames.from_file(Path(config.classes))
    if len(classes) != count:
        where = config.classes or "the list given"
        raise NetworkError(f"network {config.title!r}: gives {count} scores, but {where} names {len(classes)} classes")
    return classes


def _load_file(body: nn.Module, config: NetworkConfig) -> None:
    path = embedded.checked_file(Path(config.weights), config.sha256, "give its path from the current folder")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise NetworkError(
            f"weights file {path}: not readable as {path.suffix.removeprefix('.')} of tensors only "
            f"({type(error).__name__}); expected a state_dict of tensors, whole and without other objects"
        ) from None
    if isinstance(state, dict) and "state_dict" in state:
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise NetworkError(f"weights file {path}: holds a {type(state).__name__}, expected a state_dict of tensors")
    try:
        body.load_state_dict(state)
    except RuntimeError as error:
        raise NetworkError(f"weights file {path}: does not fit {config.title!r}: {one_line(error, 200)}") from None
