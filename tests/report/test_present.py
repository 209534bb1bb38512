"""Tables as text and as files."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_fixture import make_run

from suite.report.present import columns_shown, display, header, write_tables
from suite.report.tables import build_tables
from suite.results import read, read_manifest


def test_interval_and_value_share_a_cell() -> None:
    table = pd.DataFrame({"mean": [0.5, 0.5], "mean_low": [0.25, math.nan], "mean_high": [0.75, math.nan]})
    assert list(display(table, "comparison")["mean [95%]"]) == ["0.500 [0.250, 0.750]", "0.500"]


def test_headers_are_the_sections_own() -> None:
    assert (header("captum_mib", "speed"), header("captum_mib", "agreement")) == ("Captum peak (MiB)", "captum mib")
    assert (header("metric", "comparison"), header("metric", "scores")) == ("measure", "metric")
    assert columns_shown(pd.DataFrame(columns=["a", "a_low", "a_high", "b_low"])) == ["a", "b_low"]


@pytest.mark.slow
def test_files_hold_all_digits_and_escape_what_is_hostile(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    tables = build_tables(read(run), read_manifest(run))
    write_tables(tables, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.csv")} == set(tables)
    for name, table in tables.items():
        again = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=True)
        for column in table.select_dtypes("float"):
            np.testing.assert_array_equal(again[column].to_numpy(float), table[column].to_numpy(float))
        markdown = (tmp_path / f"{name}.md").read_text()
        assert not re.search("<script|<img", markdown)
        bars = {len(line.replace("\\|", "").split("|")) for line in markdown.splitlines()}
        assert len(bars) == 1, name
    latex = (tmp_path / "predictions.tex").read_text()
    assert r"squeezenet1\_1" in latex
    assert r"\$x\_1\$ | 100\%" in latex
    assert "guided_grad_cam" not in (tmp_path / "agreement_verdicts.tex").read_text()
