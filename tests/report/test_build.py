"""The whole report from a made-up run: nothing is fetched, nothing is executed, nothing is lost."""

import base64
import hashlib
import os
import re
import shutil
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_fixture import EVIL, METHODS, make_run, photo_names
from rich.console import Console

from suite.errors import SuiteError
from suite.report import build, terminal_summary
from suite.report.overlay import overlay, scale
from suite.report.pictures import PICTURE_BYTES
from suite.report.plots import draw_plots
from suite.report.tables import build_tables
from suite.results import read, read_manifest, write_manifest, write_shard
from suite.studies.sanity import report as sanity_report

pytestmark = pytest.mark.slow  # whole pages with all their plots


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text outside of script and style."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.code: dict[str, str] = {}
        self._inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.code[self._inside] = self.code.get(self._inside, "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "quick", photos=4)


@pytest.fixture(scope="module")
def page(run_dir: Path) -> Page:
    return Page(build(run_dir))


def test_the_page_asks_for_nothing(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            address = attributes.get(name)
            if address is None:
                continue
            if tag == "a":
                assert re.match(r"(#|images/|plots/|tables/)", address), address
            elif tag == "use":
                assert address.startswith("#photo-"), address
            else:
                assert address.startswith("data:"), address
    assert not re.search(r"url\(|@import", page.code["style"])
    assert not re.search(r"fetch|XMLHttp|import\(|WebSocket", page.code["script"])


def test_nothing_hostile_became_markup(page: Page) -> None:
    assert len(page.all("script")) == 1
    assert not [tag for tag, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all((image.get("src") or "").startswith("data:image/") or image == {"alt": ""} for image in page.all("img"))
    assert EVIL in page.text  # shown as text, so not lost either
    assert photo_names(1)[0] in page.text


def test_the_policy_admits_this_script_and_this_style_only(page: Page) -> None:
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.code[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_verdicts_come_first_then_the_rest_in_order(page: Page) -> None:
    order = ("verdicts", "seen", "study-agreement", "study-speed", "pictures", "by-method")
    places = [page.source.index(f'id="{name}"') for name in order]
    places += [page.source.index("What could not be done"), page.source.index('id="configuration"')]
    assert places == sorted(places)
    for words in ("saliency is the same as the reference", "differs", "4 of 50", "cannot be read: truncated", "captum"):
        assert words in re.sub(r"\s+", " ", page.text), words


def test_every_picture_says_what_it_shows_and_every_link_leads_somewhere(page: Page, run_dir: Path) -> None:
    from urllib.parse import unquote

    assert all(image["alt"] for image in page.all("img")[:-1])
    links = [unquote(a["href"] or "") for a in page.all("a") if not (a.get("href") or "#").startswith("#")]
    assert len(links) >= 3 + len(METHODS)
    assert not [link for link in links if not (run_dir / link).is_file()]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in page.all("a") if (a.get("href") or "").startswith("#")} <= set(ids)


def test_the_page_and_its_pictures_stay_small(page: Page) -> None:
    assert len(page.source) < 10_000_000
    assert len(page.all("image")) == 3
    for image in page.all("image"):
        assert len(base64.b64decode((image["href"] or "").partition(",")[2])) <= PICTURE_BYTES


def test_the_run_directory_holds_what_is_promised(run_dir: Path, page: Page) -> None:
    assert len(list((run_dir / "images").glob("*/*.png"))) == 3
    stems = {path.stem for path in (run_dir / "plots").glob("*.svg")}
    assert {"difference-squeezenet1_1", "cost-squeezenet1_1-batch", "heatmap-squeezenet1_1-spearman"} <= stems
    assert not list(run_dir.rglob("*.tmp"))


def test_building_again_gives_the_same_bytes_and_keeps_pictures(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, photos=2, studies=("predictions", "agreement"))
    page = Page(build(run_dir))
    picture = next((run_dir / "images").glob("*/*.png"))
    before = picture.stat().st_mtime_ns
    files = {path: path.read_bytes() for path in [*run_dir.glob("tables/*"), *run_dir.glob("plots/*.svg")]}
    build(run_dir)
    assert picture.stat().st_mtime_ns == before
    assert (run_dir / "report.html").read_text(encoding="utf-8") == page.source
    assert {path: path.read_bytes() for path in files} == files
    os.utime(picture, ns=(0, 0))
    plot = run_dir / "plots" / "difference-squeezenet1_1.svg"
    drawn = plot.stat().st_mtime_ns
    shard = [
        row | {"value": row["value"] + 1} for row in read(run_dir).query("study == 'agreement'").to_dict("records")
    ]
    write_shard(
        run_dir / "rows" / "agreement" / "0.parquet",
        [{k: v for k, v in r.items() if v == v} for r in shard],
    )
    build(run_dir)
    assert picture.stat().st_mtime_ns > before
    assert plot.stat().st_mtime_ns > drawn  # other rows, another figure


@pytest.mark.parametrize("studies", [("predictions",), ("agreement",), ("speed",), ("comparison",), ("sharpness",), ()])
def test_a_section_without_rows_is_absent(tmp_path: Path, studies: tuple[str, ...]) -> None:
    run = make_run(tmp_path, photos=2, studies=studies, status="interrupted")
    shutil.rmtree(run / "images")
    page = Page(build(run))
    assert "4 of 10 items are done" in re.sub(r"\s+", " ", page.text)
    assert ('id="verdicts"' in page.source) == bool({"agreement", "speed"} & set(studies))
    assert ('id="t-comparison"' in page.source) == ("comparison" in studies)
    assert re.findall('id="study-(.*?)"', page.source) == [name for name in studies if name != "predictions"]
    assert 'id="pictures"' not in page.source


def test_a_run_without_any_row_still_has_a_report(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"name": "empty", "status": "running", "config": {}, "seed": 0, "models": {}})
    page = Page(build(tmp_path))
    assert "empty" in page.text
    assert 'id="verdicts"' not in page.source


def test_methods_that_are_undefined_and_controls_without_a_counterpart(tmp_path: Path) -> None:
    methods = ("saliency", "deconvolution", "control_noise")
    run = make_run(
        tmp_path, photos=3, models=("a/b:c", "d"), methods=methods, studies=("predictions", "agreement", "comparison")
    )
    page = Page(build(run))
    assert "deconvolution cannot be compared here." in re.sub(r"\s+", " ", page.text)
    assert "the network has no rectifier" in page.text
    assert (run / "plots" / "heatmap-a_b_c-ssim.svg").is_file()


@pytest.mark.parametrize(
    ("manifest", "said"), [({}, "no 'config'"), ({"config": {}, "models": {}, "status": 3}, "no 'status'")]
)
def test_a_manifest_that_no_run_wrote_is_one_clear_line(manifest: dict[str, Any], said: str, tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest)
    with pytest.raises(SuiteError, match=f"run.json has {said}"):
        build(tmp_path)


def test_damaged_arrays_are_one_clear_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, studies=("predictions",))
    path = next((run / "images").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SuiteError, match=rf"{path.name} holds no readable arrays"):
        build(run)


def test_plots_leave_the_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, studies=("speed",))
    before = dict(mpl.rcParams)
    mpl.rcParams["axes.facecolor"] = "red"  # nor do a user's settings reach the plots
    try:
        tables = build_tables(read(run), read_manifest(run))
        drawn = draw_plots(read(run), tables, tmp_path / "plots")
    finally:
        mpl.rcParams["axes.facecolor"] = before["axes.facecolor"]
    assert dict(mpl.rcParams) == before
    path = next(plot.path for plot in drawn if plot.path.stem == "cost-squeezenet1_1-batch")
    assert "#ff0000" not in path.read_text()


def test_zero_stays_visible_on_the_log_axis(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=5, studies=("agreement",))
    tables = build_tables(read(run), read_manifest(run))
    (plot,) = draw_plots(read(run), tables, tmp_path / "plots")
    svg, text = plot.path.read_text(), plot.text
    assert {"4 of 4", "3 of 4", "bit-equal"} <= set(re.findall(">([^<]+)</text>", svg))
    assert "exactly equal" in text


def test_overlay_by_hand() -> None:
    photo = np.full((1, 3, 3), 100, np.uint8)
    signed = overlay(photo, np.array([[-2.0, 0.0, 1.0]], np.float32), 1.0, signed=True)[0].astype(int)
    assert set(signed[1]) <= {54, 55}  # 0 shows the darkened grey photo alone: 0.55 * 100
    assert signed[0][2] > signed[0][0]  # below 0 is blue
    assert signed[2][0] > signed[2][2]  # above 0 is orange
    plain = overlay(photo, np.array([[0.0, 0.5, 1.0]], np.float32), 1.0, signed=False)[0].astype(int)
    assert plain[0].sum() < plain[1].sum() < plain[2].sum()


def test_scale_clips_outliers_but_never_to_nothing() -> None:
    values = np.zeros((100, 100), np.float32)
    assert scale(values) == 0
    values[0, 0] = 5
    assert scale(values) == 5  # more than 99% are 0: the maximum then
    values = np.linspace(-1, 1, 10001, dtype=np.float32)
    values[0] = -1000
    assert scale(values) == pytest.approx(0.99, abs=1e-3)
    assert scale(np.array([np.nan, 1.0], np.float32)) == 0


def test_a_captum_map_beside_an_empty_own_one_is_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, methods=("saliency",), studies=("predictions",))
    path = next((run / "images").rglob("*.npz"))
    arrays: dict[str, Any] = dict(np.load(path))
    arrays["own|saliency"] = np.zeros_like(arrays["own|saliency"])
    np.savez(path, **arrays)
    build(run)
    tile = np.asarray(Image.open(path.with_suffix(".png")))
    left, top = 22 + 224 + 88, 22 + 30
    own, captum = tile[top : top + 224, left : left + 224], tile[top + 258 : top + 482, left : left + 224]
    assert len(np.unique(own.reshape(-1, 3), axis=0)) < 300  # words on an empty tile
    assert len(np.unique(captum.reshape(-1, 3), axis=0)) > 1000


def test_terminal_summary_shows_names_as_they_are(run_dir: Path) -> None:
    console = Console(file=StringIO(), width=160)
    console.print(terminal_summary(build_tables(read(run_dir), read_manifest(run_dir))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    ratio = build_tables(read(run_dir), read_manifest(run_dir))["speed"]["captum_over_own"].iloc[-1]
    for words in ("✓ equal", "✗ differs", "✓ within tolerance", f"{ratio:.3g}", "<img src=x"):
        assert words in text


def test_a_cascade_holds_more_methods_than_there_are_colours() -> None:
    numbers = ("similarity", "similarity_low", "similarity_high", "null_low", "null_high")
    line = {"metric": "spearman_abs", "order": "cascade_top", "x": 1, **dict.fromkeys(numbers, 0.5)}
    table = pd.DataFrame([line | {"method": f"method {k}"} for k in range(12)])
    nulls = pd.DataFrame(columns=["metric", "kind", "method", "similarity"])
    figure = sanity_report._similarity(table, nulls, "cascade_top", "blocks")
    assert len(figure.axes[0].lines) == 12
