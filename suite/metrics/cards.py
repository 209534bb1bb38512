"""What each metric says, whose it is, which way is better, and what it costs. No torch: reports and lists read it."""
# ruff: noqa: E501 - a table reads better with long lines

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
PLACEBOS = ("control_noise", "control_edges", "control_center", "control_center_edges")
_OF_FIDELITY = (*PLACEBOS, "control_constant", "control_absolute_noise")
_OF_PLACE = (*PLACEBOS, "control_center_point")


@dataclass(frozen=True)
class Card:
    """One metric.

    Attributes:
        family: faithfulness, robustness, complexity, localisation or axiom.
        better: the direction that is better.
        span: the values it can take.
        cost: passes an image; "shared" ones are made once for all methods.
        says: what is measured, and what it is not.
        paper: where it is defined.
        margin: the largest difference that counts as none: a twentieth of what the values can span.
        controls: the control maps that a method must beat to be better, of which those with rows decide.
    """

    family: str
    better: Better
    span: str
    cost: str
    says: str
    paper: str
    margin: float = 0.05
    controls: tuple[str, ...] = PLACEBOS

    @property
    def optimum(self) -> float:
        """The best value there is."""
        return 1.0 if self.better == "higher" else 0.0

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.says} {self.better.capitalize()} is better, {self.span}; {self.cost}. {self.paper}"


_FREE = "no pass beyond the map"
_SUBSETS = "S forwards, shared (S random fifths of superpixels)"
_PLACE = "no pass beyond the map of the photo (boxes) or of a composite"
_PETSIUK = "Petsiuk et al. 2018 (RISE)"
_YEH = "Yeh et al. 2019"

CARDS: dict[str, Card] = {
    "deletion": Card(
        "faithfulness", "lower", "about [0, 1]", "steps forwards a method",
        "Area under the target's probability, between its clean and its wholly perturbed value, while the highest "
        "pixels go first. Pixel flipping is the same with black and steps of one pixel.", f"{_PETSIUK}; Samek et al. 2017",
    ),
    "insertion": Card(
        "faithfulness", "higher", "about [0, 1]", "steps forwards a method",
        "The same area while the highest pixels come back first, into a blurred photo.", _PETSIUK,
    ),
    "road": Card(
        "faithfulness", "lower", "at least 0; accuracy in [0, 1]", "one forward and imputation a share removed and method",
        "Mean probability of the target over the clean one, highest pixels replaced by a noisy mean of their neighbours; "
        "accuracy: share of removals after which the target still comes first.", "Rong et al. 2022 (ROAD)",
    ),
    "faithfulness_correlation": Card(
        "faithfulness", "higher", "[-1, 1]", _SUBSETS,
        "Correlation of what the map says of a subset with the score lost when it is removed.", "Bhatt et al. 2020", margin=0.1,
        controls=_OF_FIDELITY,
    ),
    "mu_fidelity": Card("faithfulness", "higher", "[-1, 1]", _SUBSETS, "The same by ranks.", "Fel et al. 2022", margin=0.1, controls=_OF_FIDELITY),
    "infidelity": Card(
        "faithfulness", "lower", "[0, 1]", _SUBSETS,
        "Squared error of the loss that the map predicts, at its best scale, over the mean squared loss: 1 is what an "
        "empty map gets. Signed gradients predict by gradient times change, all else by its sum.", f"{_YEH}; Captum's normalize=True over E[(f(x) - f(x - I))^2]",
        controls=_OF_FIDELITY,
    ),
    "max_sensitivity": Card(
        "robustness", "lower", "at least 0", "n maps", "Largest relative change of the map under small noise. A map that "
        "ignores the network can be perfectly stable.", _YEH,
    ),
    "mean_sensitivity": Card("robustness", "lower", "at least 0", "n maps, shared with the largest", "The mean change.", "Bhatt et al. 2020"),
    "gini": Card("complexity", "higher", "[0, 1)", _FREE, "How unevenly the magnitude is spread; says nothing of truth.", "Chalasani et al. 2020"),
    "entropy": Card("complexity", "lower", "[0, 1]", _FREE, "Entropy of the magnitude over log n; says nothing of truth.", "Bhatt et al. 2020"),
    "effective_complexity": Card(
        "complexity", "lower", "(0, 1]", _FREE, "Share of pixels above a hundredth of the highest; says nothing of truth.",
        "Nguyen and Martínez 2020",
    ),
    "grid_pointing": Card(
        "localisation", "higher", "[0, 1], chance 1 / cells", "one map of a mosaic a cell",
        "Share of the positive mass in the cell whose class is explained, in a mosaic of confidently classified photos.",
        "Böhle et al. 2021; Rao et al. 2022",
    ),
    "pointing_game": Card(
        "localisation", "higher", "0 or 1", _PLACE, "Whether the highest pixel is on the object, within 15/224 of the side.",
        "Zhang et al. 2016", controls=_OF_PLACE,
    ),
    "mass_accuracy": Card("localisation", "higher", "[0, 1]", _PLACE, "Share of the positive mass on the object.", "Arras et al. 2022", controls=_OF_PLACE),
    "rank_accuracy": Card("localisation", "higher", "[0, 1]", _PLACE, "Share of the K highest pixels on an object of K.", "Arras et al. 2022", controls=_OF_PLACE),
    "box_iou": Card(
        "localisation", "higher", "[0, 1]", _PLACE,
        "Overlap of the object's box with that of the largest region above a fifth of the smoothed map's maximum.",
        "Zhou et al. 2016", controls=_OF_PLACE,
    ),
    "corloc": Card("localisation", "higher", "0 or 1", _PLACE, "Whether that overlap is at least one half.", "Deselaers et al. 2012", controls=_OF_PLACE),
    "mask_iou": Card("localisation", "higher", "[0, 1]", _PLACE, "Overlap of that region itself with the object.", "Zhou et al. 2016", controls=_OF_PLACE),
    "completeness_gap": Card(
        "axiom", "lower", "at least 0", "one forward of the baseline",
        "How far the map's sum is from the score it should explain, relative. Only for maps that promise it.",
        "Sundararajan et al. 2017",
    ),
    "input_invariance": Card(
        "axiom", "lower", "at least 0", "one map", "Relative change of the map when a constant is added to the pixels and "
        "taken away again inside the network.", "Kindermans et al. 2017",
    ),
    "implementation_invariance": Card(
        "axiom", "lower", "at least 0", "one map", "Relative change of the map when each ReLU is computed by other "
        "operations.", "Sundararajan et al. 2017",
    ),
}  # fmt: skip
