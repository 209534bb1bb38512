"""What one row is: the columns, their types, the key, and what is refused. No pandas, no files, no torch."""

import math
from typing import Any

import pyarrow as pa

STATUSES = ("ok", "failed", "skipped", "not_applicable")

SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("study", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("implementation", pa.string(), nullable=False),
        pa.field("other", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("target", pa.int64()),
        pa.field("layer", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("x", pa.float64()),
        pa.field("draw", pa.int64()),
        pa.field("noise", pa.float64()),
        pa.field("cell", pa.int64()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("control", pa.bool_(), nullable=False),
    ]
)
KEY = tuple(name for name in SCHEMA.names if name not in ("value", "unit", "status", "message", "control"))

# "study.metric" -> version, 1 where it is not listed. A change that gives another number for the same photo raises it:
# runs of two versions are neither resumed nor compared in that metric.
METRIC_VERSIONS: dict[str, int] = {
    "comparison.spearman": 2,  # the unrelated photo is of another class, as in the next ones
    "comparison.ssim": 2,
    "comparison.top10_overlap": 2,
    "between_networks.spearman": 2,
    "between_networks.ssim": 2,
    "between_networks.top10_overlap": 2,
    "style_transfer.map_spearman": 2,
    "scores.infidelity": 2,  # gradients without a sign predict by their size
    "scores.road": 2,  # imputed to 1e-4 in fact
    "scores.road_curve": 2,
    "scores.grid_pointing": 2,  # a class may stand in several mosaics
    "attacks.success": 2,  # of noise the share of its draws; of a target by the attack named
    "attacks.minimal_epsilon": 2,  # by the attack named, as all below
    "attacks.transfer_success": 2,
    "attacks.map_spearman": 2,
    "attacks.map_top10_overlap": 2,
    "attacks.shows_perturbation": 2,
    "attacks.energy_in_source_map": 2,
    "attacks.energy_in_target_map": 2,
    "attacks.energy_in_object": 2,
}
# Of sanity and labels all similarities: the other photo is of another class, a zero map is unlike any other.
METRIC_VERSIONS |= {f"{study}.smprt": 2 for study in ("sanity", "labels")} | {
    f"{study}.{measure}_{sign}": 2
    for study in ("sanity", "labels")
    for measure in ("spearman", "cosine", "ssim", "hog")
    for sign in ("abs", "signed")
}

_DEFAULTS: dict[str, Any] = dict.fromkeys(SCHEMA.names, "") | {
    "target": None,
    "x": None,
    "draw": None,
    "noise": None,
    "cell": None,
    "value": math.nan,
    "status": "ok",
    "control": False,
}
_NUMBERS = {"target": int, "draw": int, "cell": int, "x": float, "noise": float, "value": float}


def row(**fields: Any) -> dict[str, Any]:
    """One complete row: defaults filled in, numbers made plain Python ones.

    In strings that are no valid Unicode (file names in another encoding) the odd bytes are written out as escapes.

    Args:
        **fields: Columns of `SCHEMA`; `study` and `metric` are needed, and `value` where the status is ok.

    Raises:
        ValueError: A field is unknown or has the wrong type; an ok row has no value; a row that is not ok has a
            value or no message. These are faults of the caller, not of the data.
    """
    if unknown := fields.keys() - _DEFAULTS.keys():
        raise ValueError(f"a row has no column {sorted(unknown)}; the columns are {', '.join(_DEFAULTS)}")
    made = _DEFAULTS | fields
    for name, default in _DEFAULTS.items():
        value = made[name]
        if name in _NUMBERS:
            if value is None and default is None:
                continue
            number = _NUMBERS[name](value)
            if number != value and not math.isnan(number):
                raise ValueError(f"column {name} takes {_NUMBERS[name].__name__}, not {value!r}")
            made[name] = number
        elif name == "control":
            made[name] = bool(value)
        elif not isinstance(value, str):
            raise ValueError(f"column {name} takes a string, not {value!r}")
        else:
            made[name] = value.encode("utf-8", "backslashreplace").decode()
    where = f"row {made['study']}/{made['method']}/{made['image']}/{made['metric']}"
    if not made["study"] or not made["metric"]:
        raise ValueError(f"{where}: study and metric must be named")
    if made["x"] is not None and math.isnan(made["x"]):
        raise ValueError(f"{where}: x is part of the key and cannot be NaN")
    if made["status"] not in STATUSES:
        raise ValueError(f"{where}: status {made['status']!r} is none of {', '.join(STATUSES)}")
    if made["status"] == "ok" and math.isnan(made["value"]):
        raise ValueError(f"{where}: an ok row needs a value; what is undefined is not_applicable, with its reason")
    if made["status"] != "ok" and not (math.isnan(made["value"]) and made["message"]):
        raise ValueError(f"{where}: a row that is {made['status']} needs a message and no value")
    return made
