"""The page's limits: what does not fit is linked, and said to be."""

import re
from pathlib import Path

import pytest
from report_fixture import make_run

from suite.report import build, html

pytestmark = pytest.mark.slow


def test_what_does_not_fit_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, photos=5, studies=("predictions", "sharpness"))
    whole = build(run).read_text()
    assert len(re.findall("data:image/svg", whole)) == 4
    assert len(re.findall('<figure class="photo"', whole)) == 4
    for name, value in {"PLOTS_BYTES": 0, "PICTURES_BYTES": 0, "ROWS_SHOWN": 3}.items():
        monkeypatch.setattr(html, name, value)
    small = build(run).read_text()
    assert "data:image/svg" not in small
    assert len(re.findall('<a href="plots/sharpness-[a-z_]*.svg"', small)) == 4
    assert len(re.findall('<figure class="photo"', small)) == 1  # the first, however large
    assert "The first 1 of 4 are here" in small
    assert '2 more rows are in <a href="tables/predictions.csv"' in small
    assert len(small) < len(whole)


def test_figures_follow_the_readers_light_or_dark(tmp_path: Path) -> None:
    from suite.report.style import INK

    path = tmp_path / "plots" / "a.svg"
    path.parent.mkdir()
    path.write_text(f'<svg width="1"><path fill="{INK}"/></svg>')
    figure = html._plot(tmp_path, path, "words")
    assert (figure["link"], figure["alt"]) == ("plots/a.svg", "words")
    import base64

    svg = base64.b64decode(figure["data"].partition(",")[2]).decode()
    assert 'fill="var(--c0)"' in svg
    assert svg.index("<style>") > svg.index("<svg")
