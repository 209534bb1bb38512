"""The page in a real browser: it sorts, filters and enlarges, complains of nothing and asks for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from report_fixture import EVIL, METHODS, make_run, photo_names

from suite.report import build

pytestmark = [pytest.mark.slow, needs_chromium]
STUDIES = ("predictions", "agreement", "speed", "comparison")
SHOWN = "getComputedStyle({}).display !== 'none'"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(make_run(tmp_path_factory.mktemp("run") / EVIL.replace("/", "_"), photos=12, studies=STUDIES))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, path: Path) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser


def column(browser: Browser, table: str, head: str) -> list[str]:
    """The shown cells of a column, from top to bottom."""
    script = f"""(() => {{
        const table = document.getElementById("t-{table}");
        const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === "{head}");
        return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[at].textContent);
    }})()"""
    return list(browser[script])


def test_a_heading_sorts_by_number_and_back_and_what_is_missing_stays_last(browser: Browser) -> None:
    head = "[...document.querySelectorAll('#t-predictions th button')].find((b) => b.textContent === 'confidence')"
    for direction, sign in (("ascending", 1), ("descending", -1)):
        browser[f"{head}.click()"]
        cells = column(browser, "predictions", "confidence")
        assert cells[-1] == "–"  # the photo that could not be read
        values = [float(cell) for cell in cells[:-1]]
        assert len(values) == 11
        assert values == sorted(values, key=lambda value: sign * value)
        assert browser[f"{head}.parentElement.getAttribute('aria-sort')"] == direction


def test_a_word_filters_and_the_page_says_how_many_are_left(browser: Browser) -> None:
    box = "document.querySelector('input[data-table=t-comparison]')"
    every = column(browser, "comparison", "method")
    browser[f"{box}.value = 'GRAD_CAM'; {box}.dispatchEvent(new Event('input'))"]
    left = column(browser, "comparison", "method")
    assert 0 < len(left) < len(every)
    assert browser[f"{box}.parentElement.querySelector('output').textContent"] == f"{len(left)} of {len(every)}"
    browser[f"{box}.value = ''; {box}.dispatchEvent(new Event('input'))"]
    assert column(browser, "comparison", "method") == every


def test_a_picture_enlarges_and_the_keyboard_switches_and_goes_on(browser: Browser) -> None:
    caption = "document.querySelector('dialog .caption').textContent"
    window = "document.querySelector('dialog svg').getAttribute('viewBox').split(' ').map(Number)"
    browser["document.querySelector('.tile[data-compared]').click()"]
    assert browser["document.querySelector('dialog').open"]
    assert browser[caption].startswith("saliency, own")
    own = browser[window]
    browser.press("2")
    assert browser[caption].startswith("saliency, reference")
    assert browser[window][1] == pytest.approx(1 + 0.004, abs=0.01)
    browser.press("d")
    assert browser[caption].startswith("saliency, difference")
    browser.press("ArrowRight")
    assert browser[caption].startswith("guided_backprop, difference")
    assert browser[window][0] == pytest.approx(own[0] + 1)
    browser["document.querySelectorAll('dialog .sides button')[0].click()"]
    assert browser[caption].startswith("guided_backprop, own")
    browser.press("Escape")
    assert not browser["document.querySelector('dialog').open"]
    browser["document.querySelector('a.zoom').click()"]
    assert browser["document.querySelector('dialog img').naturalWidth"] > 100
    assert not browser[SHOWN.format("document.querySelector('dialog svg')")]
    browser.press("Escape")


def test_one_press_turns_all_tiles(browser: Browser) -> None:
    tiles = "[...document.querySelectorAll('.tile[data-compared] svg')]"
    rows = f"new Set({tiles}.map((tile) => tile.getAttribute('viewBox').split(' ')[1]))"
    for button in (2, 0):
        browser[f"document.querySelectorAll('#pictures .sides button')[{button}].click()"]
        assert browser[f"{rows}.size"] == 1
        assert float(browser[f"[...{rows}][0]"]) == pytest.approx(button + 0.004, abs=0.02)


def test_a_methods_page_opens_by_its_link_and_gathers_its_rows(browser: Browser) -> None:
    browser["document.querySelector('#verdicts .glance tbody a').click()"]
    page = "document.querySelector('details.method[data-method=saliency]')"
    browser["new Promise((done) => setTimeout(done, 200))"]
    assert browser[f"{page}.open"]
    titles = browser[f"[...{page}.querySelectorAll('.gathered h4')].map((title) => title.textContent)"]
    assert {"agreement: Agreement", "speed: Cost of each method"} <= set(titles)
    assert browser[f"{page}.querySelectorAll('.tile').length"] == 11
    assert "guided_backprop" not in browser[f"{page}.querySelector('.gathered table').textContent"]


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window_and_text_stands_out(browser: Browser, width: int, scheme: str) -> None:
    browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.size(width, 900)
    assert browser["document.documentElement.scrollWidth"] <= width
    colours = browser["['color', 'backgroundColor'].map((k) => getComputedStyle(document.body)[k])"]
    ink, paper = (sum(map(int, colour.strip("rgb()").split(","))) for colour in colours)
    assert (ink < 200 < 700 < paper) if scheme == "light" else (paper < 200 < 600 < ink)


def test_print_shows_whole_tables(browser: Browser) -> None:
    browser("Emulation.setEmulatedMedia", media="print")
    assert not browser[SHOWN.format("document.querySelector('nav')")]
    assert browser["[...document.querySelectorAll('.scroll')].every((box) => box.scrollHeight <= box.clientHeight + 1)"]
    assert len(browser("Page.printToPDF")["data"]) > 10_000
    browser("Emulation.setEmulatedMedia", media="screen")


def test_hostile_names_are_text_and_nothing_was_asked_for_or_complained_of(browser: Browser, path: Path) -> None:
    text = browser["document.body.textContent"]
    assert EVIL in text
    assert photo_names(1)[0] in text
    assert browser["document.querySelectorAll('script').length"] == 1
    assert not browser["document.querySelector('[onerror], [src=x]')"]
    pictures = "[...document.images].filter((image) => image.getAttribute('src'))"
    assert browser[f"{pictures}.length"] > len(METHODS)
    assert browser[f"{pictures}.every((image) => image.complete && image.naturalWidth > 0)"]
    assert {address for address in browser.requests if not address.startswith("data:")} == {path.resolve().as_uri()}
    assert browser.complaints == []
    browser["fetch('https://example.invalid').catch(() => console.warn('planted'))"]
    assert any("Content Security Policy" in line for line in browser.complaints)  # the ear is not deaf
    assert any("planted" in line for line in browser.complaints)
