"""The section on predictions, by hand."""

import math
from typing import Any

import pandas as pd
import pyarrow as pa

from suite.results import as_table
from suite.studies.predictions.report import SECTION, accuracy, predictions


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return as_table([{"model": "m", **fields} for fields in rows]).to_pandas(
        types_mapper={pa.int64(): pd.Int64Dtype()}.get
    )


def test_predictions_and_accuracy_by_hand() -> None:
    def photo(image: str, target: int, top: int, **correct: Any) -> list[dict[str, Any]]:
        base = {"study": "predictions", "image": image, "target": target}
        rows = [base | {"metric": "top1", "value": top}, base | {"metric": "confidence", "value": 0.25}]
        return rows + [base | {"metric": name} | correct for name in ("correct", "correct_top5")]

    unlabelled = {"status": "not_applicable", "value": math.nan, "message": "no label"}
    rows = photo("a", 1, 1, value=1) + photo("b", 1, 7, value=0) + photo("c", 7, 7, **unlabelled)
    table = predictions(frame(*rows), {"class_names": {"1": "snail"}})
    a, b, c = table.to_dict("records")
    assert (a["label"], a["top1"], a["correct"]) == ("snail", "snail", "yes")
    assert (b["label"], b["top1"], b["correct"]) == ("snail", "class 7", "no")
    assert (c["label"], c["top1"], c["correct"], c["note"]) == ("", "class 7", "", "no label")
    share = accuracy(frame(*rows)).iloc[0]
    assert (share["photos"], share["n"], share["top1"]) == (3, 2, 0.5)
    assert SECTION.captions({"predictions": table}) == {
        ("m", "a"): ("snail", "snail, 25.0% (right)"),
        ("m", "b"): ("snail", "class 7, 25.0% (wrong)"),
        ("m", "c"): ("", "class 7, 25.0%"),
    }
    alone = predictions(frame(*photo("c", 7, 7, **unlabelled)), {})
    assert alone[["label", "correct", "note"]].to_numpy().tolist() == [["", "", "no label"]]
    nothing = accuracy(frame(*photo("c", 7, 7, **unlabelled))).iloc[0]
    assert nothing["n"] == 0
    assert math.isnan(nothing["top1"])


def test_a_run_without_predictions_has_no_captions() -> None:
    assert SECTION.captions({}) == {}
