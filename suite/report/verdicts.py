"""Agreement rows to one verdict a method: a pure function of the rows. No torch, no files."""

from collections.abc import Set
from typing import NamedTuple

import pandas as pd

# What a row of agreement promises: the first to the bit, the second up to a stated tolerance.
PROMISES = ("bit_equal", "within_tolerance")
COLUMNS = ("model", "method", "measure", "verdict", "reason")


class Verdict(NamedTuple):
    """`verdict` is equal, within tolerance, differs, not applicable or failed (nothing could be compared)."""

    measure: str
    verdict: str
    reason: str


def agreement_verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    """One line of `COLUMNS` for each model and method of the study agreement, in the order of the rows."""
    agreement = rows[rows["study"] == "agreement"]
    lines = [
        (model, method, *judge(group, unreadable(rows, str(model))))
        for (model, method), group in agreement.groupby(["model", "method"], sort=True)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def unreadable(rows: pd.DataFrame, model: str) -> frozenset[str]:
    """The photos that could not be read at all: they failed in the study predictions and reached no other."""
    failed = rows[(rows["study"] == "predictions") & (rows["model"] == model) & (rows["status"] == "failed")]
    return frozenset(failed["image"]) - {""}


def judge(group: pd.DataFrame, lost: Set[str] = frozenset()) -> Verdict:
    """The verdict on the agreement rows of one method, all of one model.

    A bit_equal row beside a difference above 0 counts as differing: one of the two is wrong.

    Args:
        group: Rows of the study agreement.
        lost: Photos that could not be read and so have no row here; they count as failed.
    """
    promises = group[group["metric"].isin(PROMISES)]
    kept = promises[promises["status"] == "ok"]
    others = (promises if len(promises) else group).query("status != 'ok'")
    measure = " and ".join(name for name in PROMISES if name in set(promises["metric"])) or PROMISES[0]
    images = {status: set(others.loc[others["status"] == status, "image"]) - {""} for status in set(others["status"])}
    failed = images.pop("failed", set()) | lost
    total = len(set(kept["image"]).union(failed, *images.values()))
    rest = f"; {len(failed)} failed" if failed else ""
    for status, names in images.items():
        messages = others.loc[others["status"] == status, "message"]
        rest += f"; {len(names) or 'all'} {status.replace('_', ' ')}: {messages.iloc[0]}"
    if kept.empty:
        if set(others["status"]) == {"not_applicable"}:
            return Verdict(measure, "not applicable", str(others["message"].iloc[0]))
        message = others["message"].iloc[0] if len(others) else "no photo was compared"
        return Verdict(measure, "failed", f"0 of {_photos(total)}{rest or '; ' + message}")

    size = group[(group["metric"] == "max_abs_difference") & (group["status"] == "ok")]
    kept = kept.merge(
        size[["image", "layer", "value", "message"]], on=["image", "layer"], how="left", suffixes=("", "_size")
    )
    bit = kept["metric"] == "bit_equal"
    differs = (kept["value"] != 1) | (bit & (kept["value_size"] > 0))
    # NaN sorts first: a difference that is no number is worse than any that is one.
    worst = (kept[differs] if differs.any() else kept).sort_values("value_size", ascending=False, na_position="first")
    at = worst.iloc[0]
    why = f": {text}" if (text := at["message"] or (at["message_size"] if pd.notna(at["message_size"]) else "")) else ""
    if differs.any():
        n = kept.loc[differs, "image"].nunique()
        by = f" by {at['value_size']:.3g} at most" if pd.notna(at["value_size"]) else ""
        return Verdict(measure, "differs", f"{n} of {_photos(total)} differ, worst {at['image']}{by}{why}{rest}")
    n = kept["image"].nunique()
    if bit.all():
        return Verdict(measure, "equal", f"{n} of {_photos(total)} equal to the last bit{rest}")
    largest = f", largest difference {at['value_size']:.3g} ({at['image']})" if pd.notna(at["value_size"]) else ""
    return Verdict(measure, "within tolerance", f"{n} of {_photos(total)} within tolerance{largest}{why}{rest}")


def _photos(n: int) -> str:
    return f"{n} photo" if n == 1 else f"{n} photos"
