"""Numbers and names as readable text. No torch, no files, no layout."""

from typing import Any

import numpy as np
import pandas as pd


def number(value: Any) -> str:
    """A cell as text: three significant digits, whole numbers exact, a dash for a missing value.

    A value that merely rounds to a whole number keeps its point (1.00), so that it cannot pass for the exact one (1).
    """
    if isinstance(value, str):
        text = " ".join(value.split())
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if pd.isna(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:.0f}"
    return f"{value:.2e}"


def class_name(index: float, manifest: dict[str, Any]) -> str:
    """The name of a class, or "class 7" where the run knows none."""
    return str(manifest.get("class_names", {}).get(str(int(index)), f"class {int(index)}"))


def as_words(name: str) -> str:
    """A column or measure name as words."""
    return name.replace("_", " ")
