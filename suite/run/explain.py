"""One photo explained: top predictions, maps, and where each map alone says the object is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.attribution.fused import as_methods, attribute_each
from suite.core.passes import predict
from suite.core.pixels import pixels
from suite.data.images import load_image
from suite.errors import as_suite_error, unavailable
from suite.metrics.complexity import entropy, gini
from suite.metrics.localisation import box_of, object_masks
from suite.models.load import load_model
from suite.report.explained import Explanation
from suite.studies.base import drawable, magnitude
from suite.studies.scores.scoring import prepared


class Explained(NamedTuple):
    """A photo (H, W, 3) uint8 as the network sees it, what each method says of it, and numbers fit for JSON."""

    photo: NDArray[np.uint8]
    explanations: dict[str, Explanation]
    numbers: dict[str, Any]


def explain(path: Path, model: str, weights: str, names: Sequence[str], target: str) -> Explained:
    """Maps of one photo by several methods, and the network's predictions.

    `model` and `weights` are as `load_model` takes them. `names` are methods by name, or `package.module:object`.
    `target` is an index, a synset id or a name; "" explains the top class.
    """
    network, methods = load_model(model, weights=weights).requires_grad_(False), as_methods(names)
    card = network.card
    image, note = load_image(path, resize=card.resize, crop=card.input_size)
    images = image.unsqueeze(0)
    shares = predict(network, images).double().softmax(1)[0]

    def prediction(index: int) -> dict[str, Any]:
        return {"class": card.classes.name(index), "index": index, "probability": float(shares[index])}

    best = shares.topk(min(5, len(shares))).indices.tolist()
    chosen = card.classes.resolve(target) if target else best[0]
    numbers: dict[str, Any] = {"image": path.name, "note": note, "model": model}
    numbers |= {"predictions": [prediction(index) for index in best], "target": prediction(chosen), "methods": {}}
    explanations: dict[str, Explanation] = {}
    for name, result in attribute_each(network, images, chosen, methods, ids=[path.name]).items():
        if isinstance(result, Exception):
            reason = unavailable(as_suite_error(f"method {name!r}", result))
            numbers["methods"][name] = {reason["status"]: reason["message"]}
            continue
        forms = prepared(result, methods[name], card.input_size)
        if bool(forms.damaged):
            numbers["methods"][name] = {"failed": "the map holds NaN or infinity"}
            continue
        mask, size = object_masks(forms.evidence)[0], magnitude(result, card.input_size)
        spread = {"gini": float(gini(size)), "entropy": float(entropy(size))}
        explanations[name] = Explanation(drawable(result[0]), methods[name].signed, mask.numpy(), box_of(mask))
        numbers["methods"][name] = {
            **{key: value if np.isfinite(value) else None for key, value in spread.items()},
            "box": explanations[name].box,
            "mask_share": float(mask.double().mean()),
        }
    return Explained(pixels(image), explanations, numbers)
