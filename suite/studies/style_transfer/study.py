"""Style transfer: does the picture hold on held-out networks, and what does style do to maps?

One job is a photo, a painting and a network. In rows `image` is the photo and `painting` the painting, as the
configuration names them; the message says where another picture stands in.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from suite.attribution.base import Attribution
from suite.attribution.fused import attribute_each, plan_cost
from suite.config import RunConfig
from suite.core.draws import generator_for
from suite.core.network import Card
from suite.core.passes import Cost, predict
from suite.core.pixels import pixels
from suite.data.pictures import load_picture, picture_or_stand_in
from suite.errors import as_suite_error, unavailable
from suite.metrics.similarity import spearman
from suite.results.schema import Keys
from suite.studies.base import Outcome, Row, Rows, Study, Work, magnitude, value_row
from suite.studies.style_transfer.config import StylePairConfig, StyleTransferConfig
from suite.synthesis.style_transfer import PRESETS, Painting, StyleTransfer, judged, make_settings, thinned, transfer


class StyleTransferStudy(Study):
    """Photos painted as paintings: loss terms, distances on held-out networks, maps before and after."""

    name: ClassVar[str] = "style_transfer"
    keys: ClassVar[Keys] = {"painting": str, "judge": str, "picture": str, "layer": str, "size": int, "iterations": int}
    once: ClassVar[bool] = True  # the chunk's photos only serve as unrelated photos

    def parts(self, config: RunConfig) -> int:
        return len(config.section(StyleTransferConfig).pairs)

    def cost(self, methods: Mapping[str, Attribution], config: RunConfig) -> Cost:
        """A pass a step of each job, and the maps of three pictures."""
        section = config.section(StyleTransferConfig)
        settings = [_settings(pair) for pair in section.pairs]
        for pair in section.pairs:
            picture_or_stand_in(pair.content, section.paintings)
            picture_or_stand_in(pair.style, section.paintings)
        steps = sum(job.pictures for job in settings)
        maps = plan_cost(methods.values())
        return Cost(steps + 3 * maps.forwards * len(settings), steps + 3 * maps.backwards * len(settings))

    def run(self, work: Work) -> Outcome:
        section = work.config.section(StyleTransferConfig)
        pair = section.pairs[work.part]
        settings = _settings(pair)
        content, content_note = picture_or_stand_in(pair.content, section.paintings)
        style, style_note = picture_or_stand_in(pair.style, section.paintings)
        photo, photo_note = load_picture(content, section.size)
        painting, painting_note = load_picture(style, round(section.size * settings.style_scale))
        photo, painting = photo.to(work.images), painting.to(work.images)
        settings = settings.on(work.model, photo)
        result = Painting(settings).follow(transfer(work.model, photo, painting, settings))
        notes = (result.stopped, content_note, style_note, photo_note, painting_note)
        key = {
            "study": self.name, "model": work.model.card.name, "image": pair.content, "painting": pair.style,
            "message": "; ".join(filter(None, notes)),
        }  # fmt: skip
        if result.stopped or result.last is None:
            rows: Rows = [key | {"status": "failed", "metric": "finished"}]
        else:
            rows = [key | {"metric": "finished", "value": 1}]
        if result.last is None:
            return Outcome(rows)
        rows += _curve(result, key)
        for judge in (work, *work.others):
            for metric, value in judged(judge.model, photo, painting, result.last.image).items():
                columns = key | {"judge": judge.model.card.name, "metric": f"{metric}_distance"}
                rows.append(value_row(value, "photo and painting do not differ there", **columns))
        rows += _maps(work, pair, photo, result.last.image, key)
        words = {"id": pair.content, "style": pair.style, "note": key["message"], "model": work.model.card.name}
        words |= {"form": settings.form, "steps": "\n".join(result.strip())}
        arrays = {name: np.array(text) for name, text in words.items()}
        arrays |= {"content_picture": pixels(photo[0]), "style_picture": pixels(painting[0])}
        arrays |= {f"step{k}": pixels(image[0]) for k, image in enumerate(result.strip().values())}
        return Outcome(rows, {f"style-{work.part:03d}": arrays})


def _settings(pair: StylePairConfig) -> StyleTransfer:
    own = pair.style if pair.style in PRESETS else "starry_night"
    return make_settings(pair.preset or own, pair.parameters)


def _curve(result: Painting, key: Row) -> Rows:
    """A row a term and point of the curve."""
    rows: Rows = []
    for size, step, terms in thinned(result.curve):
        for term, value in terms.items():
            metric, _, layer = term.partition(" ")
            layer = layer or (result.settings.content_layer if metric == "content" else "")
            rows.append(key | {"metric": metric, "layer": layer, "iterations": step, "size": size, "value": value})
    return rows


def as_taken(image: Tensor, card: Card) -> Tensor:
    """(1, 3, H, W) as the network takes a photo: resized, and the middle cut out."""
    height, width = card.input_size
    size = (height, width)
    if card.resize is not None:
        shorter = min(image.shape[2:])
        size = (round(image.shape[2] * card.resize / shorter), round(image.shape[3] * card.resize / shorter))
    image = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[..., top : top + height, left : left + width]


def _maps(work: Work, pair: StylePairConfig, photo: Tensor, picture: Tensor, key: dict[str, Any]) -> Rows:
    """The photo's class and map in the picture, beside noise of the same size and maps of photos of other classes."""
    before, after = (as_taken(image, work.model.card) for image in (photo, picture))
    change = (after - before).norm()
    generator = generator_for(work.config.seed, f"{pair.content} {pair.style}", "style")
    noise = torch.randn(before.shape, generator=generator).to(before)
    images = torch.cat([before, after, (before + noise * change / noise.norm()).clamp(0, 1)])
    scores = predict(work.model, images)
    target = int(scores[0].argmax())
    names = ("photo", "stylised", "noise")
    key = key | {"target": target}
    rows: Rows = []
    confidences = scores.double().softmax(1)[:, target].tolist()
    for name, top, confidence in zip(names, scores.argmax(1).tolist(), confidences, strict=True):
        columns = key | {"picture": name}
        rows.append(columns | {"metric": "confidence", "value": confidence, "unit": "probability"})
        rows.append(columns | {"metric": "class_kept", "value": top == target, "control": name == "noise"})
    size = (images.shape[2], images.shape[3])
    ids = [f"{pair.content} {pair.style} {name}" for name in names]
    for label, result in attribute_each(work.model, images, target, work.methods, ids=ids).items():
        columns = key | {"method": label, "metric": "map_spearman"}
        if not isinstance(result, Tensor):
            rows.append(columns | unavailable(as_suite_error(f"method {label!r}", result)))
            continue
        maps = magnitude(result, size)
        values = dict(zip(names[1:], spearman(maps[:1].expand(2, *size), maps[1:]).tolist(), strict=True))
        if label in work.comparable:
            others = work.comparable[label].maps[work.targets != target]
            values["unrelated"] = float(spearman(maps[:1].expand_as(others), others).nanmean())
        for name, value in values.items():
            columns |= {"picture": name, "control": work.methods[label].control}
            rows.append(value_row(value, "a map is constant, or no photo is of another class", **columns))
    return rows


STUDY = StyleTransferStudy()
