"""What one row is: the columns of all studies, a study's own keys, and versions. No pandas, no files, no torch."""

from collections.abc import Mapping

import pyarrow as pa

VERSION = 2
READ_BY = {1: "0.1"}  # version of the schema -> the release of saliency-suite that reads it

AT_ONCE = "at_once"  # metric of the row of an item that memory did not hold: how many images it held, 0 for none
STATUSES = ("ok", "failed", "skipped", "not_applicable")

Keys = Mapping[str, type]  # a study's own key columns: name -> str, int or float

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_FIRST = {"study": str, "model": str, "method": str}
_THEN = {"image": str, "target": int, "metric": str, "chunk": int, "part": int}
_VALUES = {"value": float, "unit": str, "status": str, "message": str, "control": bool}
COMMON: Keys = _FIRST | _THEN | _VALUES

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


def schema_of(keys: Keys) -> pa.Schema:
    """The columns of a study's rows: those that all studies share, and its own keys behind `method`.

    A string is never null; a number of a key is, where it does not apply.
    """
    fields = [pa.field(name, _TYPES[kind], nullable=kind in (int, float)) for name, kind in columns_of(keys).items()]
    return pa.schema(fields)


def columns_of(keys: Keys) -> Keys:
    """The same by name, as Python's types."""
    if clash := COMMON.keys() & keys.keys():
        raise ValueError(f"a study's own columns cannot be named {', '.join(sorted(clash))}: all studies have these")
    return _FIRST | dict(keys) | _THEN | _VALUES


def key_of(columns: list[str]) -> list[str]:
    """Those of the columns that together name a row: all but what its value is."""
    return [name for name in columns if name not in _VALUES]
