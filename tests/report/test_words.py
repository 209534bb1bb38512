"""Numbers and names as text."""

import math
from typing import Any

import numpy as np
import pytest

from suite.report.words import as_words, class_name, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1.0, "1"), (0.99999, "1.00"), (-0.5, "-0.500"), (2e-7, "2.00e-07"), (1234.5, "1234"), (3, "3"),
        (math.nan, "–"), (None, "–"), (math.inf, "inf"), (True, "yes"), (np.int64(5), "5"), (1e9, "1.00e+09"),
        ("two\nlines", "two lines"), ("\N{RIGHT-TO-LEFT OVERRIDE}x", "\N{REPLACEMENT CHARACTER}x"),
    ],
)  # fmt: skip
def test_numbers_as_text(value: Any, text: str) -> None:
    assert number(value) == text


def test_a_class_has_its_name_or_its_number() -> None:
    assert class_name(7.0, {"class_names": {"7": "snail"}}) == "snail"
    assert class_name(7.0, {}) == "class 7"
    assert as_words("top_1_share") == "top 1 share"
