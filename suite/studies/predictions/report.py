"""The section on predictions: what the network sees in each photo, and how often it is right. Pure; no torch."""

from typing import Any

import numpy as np
import pandas as pd

from suite.report.sections import (
    Compared,
    Section,
    Tables,
    by_metric,
    ok,
    records,
    share_with_interval,
    summarise,
    unreadable,
)
from suite.report.words import class_name

TEXTS = {
    "accuracy": (
        "Accuracy",
        "Share of labelled photos whose label comes first, or among the first five. In brackets: Wilson's 95% "
        "interval, wide where the photos are few.",
    ),
    "predictions": ("Predictions", "What the network sees in each photo. Confidence is the softmax of its top class."),
}


def predictions(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    """What the network says of each photo. `label` is empty where none was given: the top class is then explained."""

    def line(group: pd.DataFrame) -> dict[str, Any]:
        values, target = ok(group).set_index("metric")["value"], group["target"].dropna()
        return {
            "label": class_name(target.iloc[0], manifest) if "correct" in values and len(target) else "",
            "top1": class_name(values["top1"], manifest) if "top1" in values else "",
            "confidence": values.get("confidence", np.nan),
            "correct": {1.0: "yes", 0.0: "no"}.get(values.get("correct", np.nan), ""),
            "status": "failed" if (group["status"] == "failed").any() else "ok",
            "note": "; ".join(filter(None, group["message"].unique())),
        }

    return summarise(rows[rows["image"] != ""], ["model", "image"], line)


def accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of the labelled photos whose label is the top class, or among the five highest; Wilson's 95% interval."""

    def line(group: pd.DataFrame) -> dict[str, float]:
        values, nothing = by_metric(ok(group)), pd.Series(dtype=float)
        top1 = share_with_interval("top1", values.get("correct", nothing))
        top5 = share_with_interval("top5", values.get("correct_top5", nothing)) | {"n": top1["n"]}
        failed = len(unreadable(rows, group["model"].iloc[0]))
        return {"photos": group["image"].nunique()} | top1 | top5 | {"failed": failed}

    return summarise(rows[rows["image"] != ""], ["model"], line)


def _captions(tables: Tables) -> dict[tuple[str, str], tuple[str, str]]:
    lines = records(tables["predictions"]) if "predictions" in tables else []
    return {(line["model"], line["image"]): (line["label"], _sees(line)) for line in lines}


def _sees(line: dict[str, Any]) -> str:
    mark = {"yes": " (right)", "no": " (wrong)"}.get(line["correct"], "")
    return f"{line['top1']}, {line['confidence']:.1%}{mark}" if line["top1"] else ""


SECTION = Section(
    study="predictions",
    title="What the network sees",
    texts=TEXTS,
    tables=lambda rows, manifest: {"accuracy": accuracy(rows), "predictions": predictions(rows, manifest)},
    captions=_captions,
    compared=Compared(higher=frozenset({"correct", "correct_top5"}), skipped=frozenset({"top1"})),
    terminal={"accuracy": ()},
    headers={"top1": "top-1", "top5": "top-5"},
)
