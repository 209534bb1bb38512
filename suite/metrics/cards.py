"""What is said of a metric, on a card above its function. Cards are read from source: nothing is imported, no torch."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from suite.errors import ConfigError
from suite.registry import definition, load_object, metrics

Better = Literal["higher", "lower"]
Family = Literal["faithfulness", "robustness", "complexity", "localisation", "axiom"]
Score = Literal[
    "deletion", "insertion", "road", "fidelity", "sensitivity", "complexity", "grid", "composites", "boxes", "axioms"
]
Takes = Literal[
    "outputs", "subsets", "predictions", "changes", "magnitude", "scene", "scores", "network", "everything"
]  # fmt: skip
PLACEBOS = ("control_noise", "control_edges", "control_center", "control_center_edges")
Function = TypeVar("Function", bound=Callable[..., Any])


class Kind(NamedTuple):
    """What metrics that take the same share, unless their cards say otherwise; `others` are more names to ask by."""

    family: Family
    asked: tuple[Score, ...]
    cost: str
    undefined: str
    others: tuple[Score, ...] = ()


_SUBSETS: tuple[tuple[Score, ...], str, str] = (
    ("fidelity",),
    "S forwards, shared (S random fifths of superpixels)",
    "the map says the same of every subset, the score does not move, or there are no five superpixels",
)
_PLACE = "no pass beyond the map of the photo (boxes) or of a composite"
_ZERO, _UNKNOWN = "the map is zero everywhere", "the value is undefined for this map"
KINDS: Mapping[Takes, Kind] = {
    "outputs": Kind("faithfulness", (), "steps forwards a method", _UNKNOWN, ("deletion", "insertion", "road")),
    "subsets": Kind("faithfulness", *_SUBSETS),
    "predictions": Kind("faithfulness", *_SUBSETS),
    "changes": Kind("robustness", ("sensitivity",), "n maps", _ZERO),
    "magnitude": Kind("complexity", ("complexity",), "no pass beyond the map", _ZERO),
    "scene": Kind("localisation", ("composites", "boxes"), _PLACE, "the map has no positive values", ("grid",)),
    "scores": Kind("axiom", ("axioms",), "one forward of the baseline", "the baseline has the photo's own score"),
    "network": Kind("axiom", ("axioms",), "one map", _ZERO),
    "everything": Kind("faithfulness", (), "passes of its own", _UNKNOWN, get_args(Score)),
}


@dataclass(frozen=True)
class Card:
    """One metric: `@Card(...)` above its function, with literals by keyword, for they are read and not run.

    The function gives (B,) float64, NaN where it is undefined. What it is called with, by `takes`:

    - outputs: `TargetOutputs` (B, S) of copies with more and more pixels removed or inserted, then (B, 1) of the images
      and, but for road, of wholly perturbed ones; it gives (form, (B,) values, why one is NaN) for each of its forms.
    - subsets: what the map says of S subsets of the pixels (B, S), and the score lost without each (B, S).
    - predictions: the same, but signed gradients predict by gradient times change.
    - changes: relative changes of the map under n noises (B, n).
    - magnitude: the maps' |a| (B, H, W), channels summed, at the images' size.
    - scene: a `suite.metrics.localisation.Scene`, maps of pictures whose object's place is known.
    - scores: maps (B, C, h, w) that promise to sum to a difference of scores, and the two scores (B,).
    - network: the network and its images; it gives another network and its images, whose maps should be the same.
    - everything: maps (B, C, h, w), the network, images (B, 3, H, W) and targets (B,).

    Attributes:
        takes: see above; `KINDS` has what follows from it.
        better: the direction that is better.
        span: the values it can take.
        paper: where it is defined.
        says: what is measured, and what it is not: the first sentences of the function's docstring.
        family: what is measured; faithfulness and localisation decide.
        asked: the name in `studies.scores.metrics` under which it is measured; scenes have several.
        cost: passes an image; "shared" ones are made once for all methods.
        undefined: why a value is NaN.
        margin: the largest difference that counts as none: a twentieth of what the values can span.
        also: control maps that a method must beat besides `PLACEBOS`; they are made where a metric names them.

    Raises:
        ValueError: takes, better or asked is none that there is.
    """

    takes: Takes
    better: Better
    span: str
    paper: str
    says: str = ""
    family: str = ""
    asked: tuple[Score, ...] = ()
    cost: str = ""
    undefined: str = ""
    margin: float = 0.05
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("takes", get_args(Takes)), ("better", get_args(Better))):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}")
        kind = KINDS[self.takes]
        for name in ("family", "asked", "cost", "undefined"):
            object.__setattr__(self, name, getattr(self, name) or getattr(kind, name))
        allowed = kind.asked + kind.others
        # The rows of scenes say which; rows of anything else that is asked for twice would stand there twice.
        if not 1 <= len(self.asked) <= (3 if self.takes == "scene" else 1) or not set(self.asked) <= set(allowed):
            raise ValueError(f"asked is {self.asked}, expected a tuple of one of {', '.join(allowed)}")

    def __call__(self, function: Function) -> Function:
        return function

    @property
    def controls(self) -> tuple[str, ...]:
        """The control maps that a method must beat to be better, of which those with rows decide."""
        return PLACEBOS + self.also

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def optimum(self) -> float:
        """The best value there is."""
        return 1.0 if self.better == "higher" else 0.0

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.says} {self.better.capitalize()} is better, {self.span}; {self.cost}. {self.paper}"


class Metric(NamedTuple):
    """A metric at work: its function has been imported, and torch with it."""

    name: str
    card: Card
    compute: Callable[..., Any]


@cache
def cards() -> Mapping[str, Card]:
    """Name -> card of the metrics that have one, in the order of the registry.

    Raises:
        ConfigError: a function is not where the registry says, or its card lacks a field or holds more than literals.
    """
    read = {name: _card(name, target) for name, target in metrics().items()}
    return {name: card for name, card in read.items() if card is not None}


def _card(name: str, target: str) -> Card | None:
    function = definition(target)
    if function is None:
        raise ConfigError(f"metric {name!r} ({target}): no function of that name is written there")
    says = " ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split())
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("Card", "cards.Card"):
            try:
                return Card(**{"says": says} | {str(k.arg): ast.literal_eval(k.value) for k in decorator.keywords})
            except (TypeError, ValueError) as error:
                raise ConfigError(f"metric {name!r} ({target}): its card is not to be read: {error}") from None
    return None


@cache
def measured(asked: str, takes: Takes) -> tuple[Metric, ...]:
    """The metrics that are measured under a name and take the same, in the order of the registry."""
    chosen = [(name, card) for name, card in cards().items() if asked in card.asked and card.takes == takes]
    return tuple(Metric(name, card, load_object(metrics()[name])) for name, card in chosen)
