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

import pytest
from report_fixture import EVIL, METHODS, make_run, photo_names
from rich.console import Console

from suite.errors import SuiteError
from suite.registry import study_part
from suite.report import build, terminal_summary
from suite.report.pictures import PICTURE_BYTES
from suite.report.tables import build_tables
from suite.results import read, read_manifest, write_manifest, write_shard

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
    order = ("verdicts", "study-predictions", "study-agreement", "study-speed", "pictures", "by-method")
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
    shard = [row | {"value": row["value"] + 1} for row in read(run_dir, "agreement").to_dict("records")]
    write_shard(
        run_dir / "rows" / "agreement" / "0.parquet",
        [{k: v for k, v in r.items() if v == v} for r in shard],
        keys=study_part("agreement", "study:STUDY").keys,
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
    assert re.findall('id="study-(.*?)"', page.source) == list(studies)
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


def test_terminal_summary_shows_names_as_they_are(run_dir: Path) -> None:
    console = Console(file=StringIO(), width=160)
    console.print(terminal_summary(build_tables(read(run_dir), read_manifest(run_dir))))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    ratio = build_tables(read(run_dir), read_manifest(run_dir))["speed"]["captum_over_own"].iloc[-1]
    for words in ("✓ equal", "✗ differs", "✓ within tolerance", f"{ratio:.3g}", "<img src=x"):
        assert words in text
