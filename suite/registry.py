"""Names -> "module:object". Nothing is imported until a name is resolved, so listing costs nothing. No torch here."""

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from suite.errors import ConfigError, did_you_mean

ATTRIBUTIONS: Mapping[str, str] = {
    "saliency": "suite.attribution.saliency:Saliency",
    "gradient": "suite.attribution.gradient:Gradient",
    "input_x_gradient": "suite.attribution.input_x_gradient:InputXGradient",
    "guided_backprop": "suite.attribution.guided_backprop:GuidedBackprop",
    "deconvolution": "suite.attribution.deconvolution:Deconvolution",
    "grad_cam": "suite.attribution.grad_cam:GradCam",
    "guided_grad_cam": "suite.attribution.guided_grad_cam:GuidedGradCam",
    "integrated_gradients": "suite.attribution.integrated_gradients:IntegratedGradients",
    "smoothgrad": "suite.attribution.smoothgrad:SmoothGrad",
    "vargrad": "suite.attribution.smoothgrad:VarGrad",
    "gradient_shap": "suite.attribution.gradient_shap:GradientShap",
    "occlusion": "suite.attribution.occlusion:Occlusion",
    "layer_activation": "suite.attribution.layer_activation:LayerActivation",
    "layer_conductance": "suite.attribution.layer_conductance:LayerConductance",
    "neuron_gradient": "suite.attribution.neuron_gradient:NeuronGradient",
    "control_constant": "suite.attribution.controls:Constant",
    "control_noise": "suite.attribution.controls:Noise",
    "control_absolute_noise": "suite.attribution.controls:AbsoluteNoise",
    "control_smooth_noise": "suite.attribution.controls:SmoothNoise",
    "control_center": "suite.attribution.controls:Center",
    "control_edges": "suite.attribution.controls:Edges",
    "control_center_edges": "suite.attribution.controls:CenterEdges",
    "control_luminance": "suite.attribution.controls:Luminance",
    "control_other_image": "suite.attribution.controls:OtherImage",
}

ATTACKS: Mapping[str, str] = {
    "fooling": "suite.attacks.fooling:Fooling",
    "fgsm": "suite.attacks.fgsm:FGSM",
    "pgd": "suite.attacks.pgd:PGD",
    "pgd_l2": "suite.attacks.pgd:PGDL2",
    "momentum_fgsm": "suite.attacks.pgd:MomentumFGSM",
    "control_noise": "suite.attacks.fgsm:Noise",
}

# A study is a package: `study:STUDY`, `report:SECTION`, and `config:CONFIG` if it has settings. In the report's order.
STUDIES: Mapping[str, str] = {
    "predictions": "suite.studies.predictions",
    "coursework": "suite.studies.coursework",
    "agreement": "suite.studies.agreement",
    "sanity": "suite.studies.sanity",
    "labels": "suite.studies.labels",
    "shortcut": "suite.studies.shortcut",
    "scores": "suite.studies.scores",
    "attacks": "suite.studies.attacks",
    "style_transfer": "suite.studies.style_transfer",
    "comparison": "suite.studies.comparison",
    "sharpness": "suite.studies.sharpness",
    "between_networks": "suite.studies.between_networks",
    "differentiate": "suite.studies.differentiate",
    "visualization": "suite.studies.visualization",
    "speed": "suite.studies.speed",
    "digits": "suite.studies.digits",
}

ALWAYS = "predictions"  # the study that is part of every run, and has no settings

# Those with a card (`suite.metrics.cards`) are metrics of the study of scores; the others are called by other studies.
METRICS: Mapping[str, str] = {
    "spearman": "suite.metrics.similarity:spearman",
    "ssim": "suite.metrics.similarity:ssim",
    "cosine": "suite.metrics.similarity:cosine",
    "hog_correlation": "suite.metrics.similarity:hog_correlation",
    "top_overlap": "suite.metrics.similarity:top_overlap",
    "relative_l2": "suite.metrics.similarity:relative_l2",
    "max_abs_difference": "suite.metrics.similarity:max_abs_difference",
    "total_variation": "suite.metrics.complexity:total_variation",
    "largest_component_mass": "suite.metrics.complexity:largest_component_mass",
    "deletion": "suite.metrics.removal:deletion",
    "insertion": "suite.metrics.removal:insertion",
    "road": "suite.metrics.removal:road",
    "faithfulness_correlation": "suite.metrics.fidelity:faithfulness_correlation",
    "mu_fidelity": "suite.metrics.fidelity:mu_fidelity",
    "infidelity": "suite.metrics.fidelity:relative_infidelity",
    "max_sensitivity": "suite.metrics.sensitivity:max_sensitivity",
    "mean_sensitivity": "suite.metrics.sensitivity:mean_sensitivity",
    "gini": "suite.metrics.complexity:gini",
    "entropy": "suite.metrics.complexity:entropy",
    "effective_complexity": "suite.metrics.complexity:effective_complexity",
    "grid_pointing": "suite.metrics.localisation:grid_pointing",
    "pointing_game": "suite.metrics.localisation:pointing_game",
    "mass_accuracy": "suite.metrics.localisation:mass_accuracy",
    "rank_accuracy": "suite.metrics.localisation:rank_accuracy",
    "box_iou": "suite.metrics.localisation:box_overlap",
    "corloc": "suite.metrics.localisation:corloc",
    "mask_iou": "suite.metrics.localisation:mask_overlap",
    "completeness_gap": "suite.metrics.axioms:completeness_gap",
    "input_invariance": "suite.metrics.axioms:input_invariance",
    "implementation_invariance": "suite.metrics.axioms:implementation_invariance",
}


@cache
def _with_plugins(group: str, kind: str) -> Mapping[str, str]:
    """Built-in names and those of installed packages' entry points, which are read once a process."""
    built_in = {"suite.attribution": ATTRIBUTIONS, "suite.metrics": METRICS, "suite.studies": STUDIES}[group]
    plugins = {p.name: p.value for p in importlib.metadata.entry_points(group=group)}
    clash = sorted(plugins.keys() & built_in.keys())
    if clash:
        raise ConfigError(f"entry point {group}: {clash[0]!r} is the name of a built-in {kind}; rename it")
    return MappingProxyType({**built_in, **plugins})


def attributions() -> Mapping[str, str]:
    """Name -> `module:object` of all methods; entry points of the group `suite.attribution` add to them."""
    return _with_plugins("suite.attribution", "method")


def metrics() -> Mapping[str, str]:
    """Name -> `module:function` of all metrics; entry points of the group `suite.metrics` add to them."""
    return _with_plugins("suite.metrics", "metric")


def studies() -> Mapping[str, str]:
    """Name -> package of all studies; entry points of the group `suite.studies` add to them."""
    return _with_plugins("suite.studies", "study")


def study_part(name: str, part: str) -> Any:
    """A part of a study, such as `report:SECTION`; None where the study has no module of that name."""
    module, _, attribute = part.partition(":")
    package = studies()[name]
    if importlib.util.find_spec(f"{package}.{module}") is None:
        return None
    return load_object(f"{package}.{module}:{attribute}")


@cache
def syntax(module: str) -> ast.Module:
    """A module's source, parsed; only its packages are imported. Empty where it has no source."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else "")


def definition(target: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function of `package.module:object` as it is written; None where the module does not define it."""
    module, _, name = target.partition(":")
    nodes = (node for node in syntax(module).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    return next((node for node in nodes if node.name == name), None)


def load_object(target: str) -> Any:
    """Imports `package.module:object`; the current folder is importable for as long as that takes.

    Raises:
        ConfigError: in one line, where the module or the object cannot be imported.
    """
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"{target!r}: expected package.module:function")
    try:
        item: Any = sys.modules.get(module_name)
        if item is None:
            with _current_folder_importable():
                item = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{target!r}: no module named {error.name!r}; install it or run from its folder") from None
    except Exception as error:
        raise ConfigError(f"{target!r}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(item, part):
            public = [name for name in dir(item) if not name.startswith("_")]
            raise ConfigError(f"{target!r}: {module_name} has no {part!r}{did_you_mean(part, public)}")
        item = getattr(item, part)
    return item


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Adds the current folder to `sys.path` for the duration, as `python -m` does; not a deleted folder."""
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:
        folder = ""
    if not folder or folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # a module may have changed the path itself
            sys.path.remove(folder)


def find(kind: str, names: Mapping[str, str], name: str) -> Any:
    """The object of a name; `package.module:object` names anything importable."""
    if ":" in name:
        return load_object(name)
    if name not in names:
        hint = did_you_mean(name, names) or f"; known: {', '.join(names)}"
        raise ConfigError(f"{kind} {name!r}: unknown{hint}")
    return load_object(names[name])


def build(kind: str, what: str, maker: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    """Calls a dataclass or function with parameters, after checking them against its signature."""
    checked = check_parameters(kind, what, maker, parameters)
    try:
        return maker(**checked)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind} {what!r}: {error}") from None


def check_parameters(
    kind: str, what: str, maker: Callable[..., Any], parameters: Mapping[str, Any], *, skip: int = 0
) -> dict[str, Any]:
    """The parameters, converted to the annotations of `maker` (a YAML list becomes a tuple).

    Args:
        kind: the word for it in an error, such as "method".
        what: its name in an error.
        maker: a dataclass or a function.
        parameters: name -> value.
        skip: leading arguments that are not parameters.

    Raises:
        ConfigError: a name that it does not take, a value of another type, NaN or infinity.
    """
    if not parameters:
        return {}
    signature = _signature(maker)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature)
    accepted = {p.name: p.annotation for p in signature[skip:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    checked = {}
    for name, value in parameters.items():
        if name not in accepted and not open_ended:
            hint = did_you_mean(name, accepted) or f"; it takes {', '.join(accepted) or 'none'}"
            raise ConfigError(f"{kind} {what!r}: unknown parameter {name!r}{hint}")
        annotation = accepted.get(name, inspect.Parameter.empty)
        if annotation is inspect.Parameter.empty or isinstance(annotation, str):
            checked[name] = value
            continue
        try:
            checked[name] = _adapter(annotation).validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ConfigError(f"{kind} {what!r}: parameter {name!r}: {reason} (got {value!r:.80})") from None
    refuse_not_finite(f"{kind} {what!r}", checked)
    return checked


def refuse_not_finite(what: str, parameters: Mapping[str, Any]) -> None:
    """Raises where a parameter is NaN or infinite, which no comparison with its range would notice."""
    for name, value in parameters.items():
        if isinstance(value, float) and not isfinite(value):
            raise ConfigError(f"{what}: parameter {name!r} is {value}, expected a finite number")


def _signature(maker: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(maker, eval_str=True)
    except NameError:  # annotations that only a type checker can read
        signature = inspect.signature(maker)
    except (TypeError, ValueError):  # functions written in C may have none
        return [inspect.Parameter("parameters", inspect.Parameter.VAR_KEYWORD)]
    return list(signature.parameters.values())


def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
