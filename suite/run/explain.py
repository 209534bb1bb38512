"""One photo explained: top predictions, maps, and where each map alone says the object is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.attribution.fused import as_methods, attribute_each
from suite.core.network import scores_of
from suite.core.state import in_use
from suite.data.images import load_image
from suite.errors import NotApplicable
from suite.metrics.complexity import entropy, gini
from suite.metrics.localisation import Box, box_of, object_masks
from suite.models.load import load_model
from suite.studies.base import as_suite_error, flat_map, magnitude
from suite.studies.scores.scoring import prepared


@dataclass
class Explained:
    """What `suite explain` writes.

    Attributes:
        photo: (H, W, 3) uint8, as the network sees it.
        maps: method -> (h, w) float32, channels summed.
        masks: method -> (H, W) bool, the object by that map alone.
        boxes: method -> the smallest box around it, None around an empty mask.
        signed: method -> whether the map's sign means something.
        numbers: predictions, target, and a few numbers or the reason for none by method; fit for JSON.
    """

    photo: np.ndarray
    maps: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    boxes: dict[str, Box | None]
    signed: dict[str, bool]
    numbers: dict[str, Any]


def explain(path: Path, model: str, weights: str, names: Sequence[str], target: str) -> Explained:
    """Maps of one photo by several methods.

    Args:
        path: the photo.
        model: as `load_model` takes it.
        weights: likewise.
        names: methods, by registry name or `package.module:object`.
        target: the class explained, as an index, synset id or name; "" explains the top class.
    """
    network, methods = load_model(model, weights=weights).requires_grad_(False), as_methods(names)
    card = network.card
    image, note = load_image(path, resize=card.resize, crop=card.input_size)
    images = image.unsqueeze(0)
    with in_use(network), torch.no_grad():
        shares = scores_of(network, images).double().softmax(1)[0]
    best = shares.topk(min(5, len(shares)))
    chosen = card.classes.resolve(target) if target else int(best.indices[0])
    predictions = [
        {"class": card.classes.name(i), "index": i, "probability": p}
        for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    numbers: dict[str, Any] = {"image": path.name, "note": note, "model": model, "predictions": predictions}
    numbers |= {"target": {"class": card.classes.name(chosen), "index": chosen, "probability": float(shares[chosen])}}
    numbers["methods"] = {}
    explained = Explained((image.permute(1, 2, 0) * 255).round().byte().numpy(), {}, {}, {}, {}, numbers)
    for name, result in attribute_each(network, images, chosen, methods, ids=[path.name]).items():
        if isinstance(result, Exception):
            kind = "not_applicable" if isinstance(result, NotApplicable) else "failed"
            numbers["methods"][name] = {kind: str(as_suite_error(f"method {name!r}", result))}
            continue
        forms = prepared(result, methods[name], card.input_size)
        if bool(forms.damaged):
            numbers["methods"][name] = {"failed": "the map holds NaN or infinity"}
            continue
        mask = object_masks(forms.evidence)[0]
        size = magnitude(result, card.input_size)
        spread = {"gini": float(gini(size)), "entropy": float(entropy(size))}
        explained.maps[name] = flat_map(result)[0].numpy().astype(np.float32)
        explained.masks[name], explained.boxes[name], explained.signed[name] = (
            mask.numpy(),
            box_of(mask),
            methods[name].signed,
        )
        numbers["methods"][name] = {
            **{key: value if np.isfinite(value) else None for key, value in spread.items()},
            "box": explained.boxes[name],
            "mask_share": float(mask.double().mean()),
        }
    return explained
