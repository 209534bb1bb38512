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
    photos = rows[rows["image"] != ""]
    if photos.empty:
        return pd.DataFrame()
    key = ["model", "image"]
    by_photo = photos.assign(failed=photos["status"] == "failed").groupby(key, sort=False)
    table = by_photo.agg(target=("target", "first"), failed=("failed", "any"))
    values = ok(photos).pivot(index=key, columns="metric", values="value").reindex(table.index)
    values = values.reindex(columns=["top1", "confidence", "correct"])
    said = photos.loc[photos["message"] != "", [*key, "message"]].drop_duplicates()

    def named(classes: "pd.Series[Any]") -> "pd.Series[Any]":
        names = ["" if np.isnan(index) else class_name(index, manifest) for index in classes.astype(float)]
        return pd.Series(names, classes.index, dtype=str)

    columns = {
        "label": named(table["target"].where(values["correct"].notna())),
        "top1": named(values["top1"]),
        "confidence": values["confidence"],
        "correct": np.select([values["correct"] == 1, values["correct"] == 0], ["yes", "no"], ""),
        "status": np.where(table["failed"], "failed", "ok"),
        "note": said.groupby(key)["message"].agg("; ".join).reindex(table.index).fillna(""),
    }
    return pd.DataFrame(columns, table.index).reset_index()


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
