"""One self-contained page out of tables, plots and pictures: nothing in it is fetched from anywhere. No torch."""

import base64
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from suite.core.atomic import write_bytes
from suite.report.pictures import SIDES, Photo, Picture, thumbnail
from suite.report.plots import Drawn
from suite.report.present import columns_shown, display, is_numeric, texts
from suite.report.sections import MARKS, Section, Tables, headline, records, sections
from suite.report.style import GRID, INK, PAPER, slug
from suite.report.words import as_words, number

PICTURES_SHOWN, ROWS_SHOWN = 24, 400
PLOTS_BYTES, PICTURES_BYTES = 3_000_000, 4_000_000
_ELSE = "And besides"
STATUS = {
    "done": "Finished.",
    "running": "Still running: this page shows what is done so far.",
    "interrupted": "Interrupted: this page shows what was done. The same command goes on from here.",
    "failed": "Ended with a failure: this page shows what was done.",
}
# What the colours of the plots become in the dark.
_DARK = {INK: "#e4e8eb", GRID: "#3d464d", PAPER: "#171b1f"}


class Figure(NamedTuple):
    """A picture in the page: `data` is embedded, `link` is the relative address of the full size."""

    title: str
    alt: str
    data: str
    link: str


class Table(NamedTuple):
    """A table as text: headers with whether they are numeric, and rows of cells, each with what it sorts by."""

    name: str
    title: str
    note: str
    headers: list[tuple[str, bool]]
    rows: list[list[tuple[str, str]]]
    left_out: int
    columns: list[str]


class Chapter(NamedTuple):
    """One study on the page."""

    section: Section
    says: list[str]
    verdicts: list[dict[str, str]]
    tables: list[Table]
    plots: list[Figure]
    more_plots: list[Figure]
    pictures: list[Figure]


class Strip(NamedTuple):
    """A photo's tiles: `data` holds them all, each is a window on it, in units of a tile's width; `ratio` is height."""

    data: str
    link: str
    ratio: float
    photo: Photo


class Method(NamedTuple):
    """Where the page gathers what is known of a method; `photos` are pairs of a photo and the tile's column."""

    anchor: str
    label: str
    info: dict[str, Any]
    verdicts: list[dict[str, str]]
    photos: list[tuple[int, int]]


def write_html(
    run_dir: Path,
    manifest: dict[str, Any],
    tables: Tables,
    plots: list[Drawn],
    pictures: dict[str, list[Picture]],
    photos: list[Photo],
) -> Path:
    """Writes report.html, under 10 MB whatever the run: what does not fit is linked, and said to be.

    Tables are by name, `pictures` by study, `photos` those with maps; links are relative to `run_dir`.
    """
    loader = PackageLoader("suite.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    shown = {name: _table(name, table) for name, table in tables.items()}
    chapters = _chapters(run_dir, tables, shown, plots, pictures)
    strips = _strips(run_dir, photos)
    methods = _methods(manifest, [line for chapter in chapters for line in chapter.verdicts], strips)
    failures = tables.get("failures", pd.DataFrame({"status": []}))
    page = environment.get_template("report.html.j2").render(
        manifest=manifest,
        status=STATUS.get(manifest["status"], manifest["status"]),
        took=_took(manifest),
        chapters=chapters,
        questions=_questions(chapters),
        methods=methods,
        anchors={number(method.label): method.anchor for method in methods},
        photos=strips,
        photos_left_out=len(photos) - len(strips),
        tables=shown,
        n_failed=int((failures["status"] == "failed").sum()),
        config=yaml.safe_dump(manifest["config"], sort_keys=False, allow_unicode=True),
        environment=_environment(manifest),
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
    )
    path = run_dir / "report.html"
    write_bytes(path, page.encode("utf-8", "backslashreplace"))
    return path


def _chapters(
    run_dir: Path, tables: Tables, shown: dict[str, Table], plots: list[Drawn], pictures: dict[str, list[Picture]]
) -> list[Chapter]:
    """The studies that left anything, in the order of the page; plots are embedded up to a size, in all."""
    chapters, size = [], 0
    for section in sections():
        embedded, linked = list[Figure](), list[Figure]()
        for figure in (_plot(run_dir, plot) for plot in plots if plot.study == section.study):
            fits = size + len(figure.data) <= PLOTS_BYTES
            (embedded if fits else linked).append(figure)
            size += len(figure.data) if fits else 0
        own = [shown[name] for name in section.texts if name in shown and not _on_first_page(section, name, tables)]
        thumbnails = [_thumbnail(run_dir, *picture) for picture in pictures.get(section.study, [])[: section.shown]]
        if own or embedded or linked or thumbnails:
            lines, says = _verdicts(section, tables, own), list(section.says(tables))
            chapters.append(Chapter(section, says, lines, own, embedded, linked, thumbnails))
    return chapters


def _on_first_page(section: Section, name: str, tables: Tables) -> bool:
    """Whether a table of verdicts holds nothing beyond what stands at the top of the page."""
    table = tables[name]
    return name == section.verdicts and len(table.columns) <= 5 and len(table) == len(headline(table))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embed(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _link(run_dir: Path, path: Path) -> str:
    return quote(path.relative_to(run_dir).as_posix())


def _took(manifest: dict[str, Any]) -> str:
    if not (manifest.get("started") and manifest.get("finished")):
        return ""
    begun, ended = (datetime.fromisoformat(manifest[key]) for key in ("started", "finished"))
    seconds = (ended - begun).total_seconds()
    if seconds < 0:  # the clock was set back
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _verdicts(section: Section, tables: Tables, shown: list[Table]) -> list[dict[str, str]]:
    """What the page says first of a study, and where its evidence is."""
    table = tables.get(section.verdicts)
    judged = [] if table is None else records(headline(table))
    evidence = shown[0].name if shown else f"study-{section.study}"
    lines: list[dict[str, str]] = []
    for record in (*section.findings(tables), *judged):
        line = {"stability": "", "control": "no", "measure": ""} | {key: number(value) for key, value in record.items()}
        tone = section.tone(line["verdict"])
        mark = MARKS[tone] if "measure" in record else ""  # a finding judges nothing
        line |= {"tone": tone, "mark": mark, "sentence": section.sentences.get(line["verdict"], "")}
        lines.append(line | {"study": section.study, "evidence": evidence})
    return lines


def _questions(chapters: list[Chapter]) -> list[tuple[str, list[Chapter]]]:
    """The questions that have an answer, with the studies that give it."""
    answers: dict[str, list[Chapter]] = {section.question: [] for section in sections() if section.question}
    answers[_ELSE] = []
    for chapter in chapters:
        if chapter.verdicts and not chapter.section.beside:  # which is shown by itself
            answers[chapter.section.question or _ELSE].append(chapter)
    return [(question, some) for question, some in answers.items() if some]


def _strips(run_dir: Path, photos: list[Photo]) -> list[Strip]:
    """As many photos as are shown and fit."""
    strips, size = list[Strip](), 0
    for photo in photos[:PICTURES_SHOWN]:
        data = _embed(photo.strip.read_bytes(), "webp")
        size += len(data)
        if strips and size > PICTURES_BYTES:
            break
        with Image.open(photo.strip) as image:
            ratio = (image.height / len(SIDES)) / (image.width / (1 + len(photo.methods)))
        strips.append(Strip(data, _link(run_dir, photo.full), ratio, photo))
    return strips


def _methods(manifest: dict[str, Any], lines: list[dict[str, str]], strips: list[Strip]) -> list[Method]:
    methods = []
    for i, (label, info) in enumerate(manifest.get("methods", {}).items()):
        verdicts = [line for line in lines if line["method"] == number(label)]
        columns = [list(strip.photo.methods) for strip in strips]
        tiles = [(k, names.index(label)) for k, names in enumerate(columns) if label in names]
        methods.append(Method(f"method-{i}-{slug(label)}", label, info, verdicts, tiles))
    return methods


def _table(name: str, table: pd.DataFrame) -> Table:
    title, note = texts()[name]
    if "method" in table and name != "failures" and table.get("model", pd.Series()).nunique() == 1:
        table = table.drop(columns="model")  # the same in every line
    shown = display(table.head(ROWS_SHOWN), name)
    columns = columns_shown(table)
    numeric = [is_numeric(table[column]) for column in columns]
    keys = [[str(value) if pd.notna(value) else "" for value in table[column].head(ROWS_SHOWN)] for column in columns]
    rows = [
        [(cell, key[i] if is_number else cell) for cell, key, is_number in zip(line, keys, numeric, strict=True)]
        for i, line in enumerate(shown.itertuples(index=False, name=None))
    ]
    heads = list(zip(shown.columns, numeric, strict=True))
    return Table(name, title, note, heads, rows, max(0, len(table) - ROWS_SHOWN), columns)


def _plot(run_dir: Path, plot: Drawn) -> Figure:
    """An SVG that follows the reader's light or dark setting by itself."""
    light, dark = ("".join(f"--c{i}:{pair[k]};" for i, pair in enumerate(_DARK.items())) for k in (0, 1))
    rules = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    svg = plot.path.read_text(encoding="utf-8")
    for i, colour in enumerate(_DARK):
        svg = svg.replace(colour, f"var(--c{i})")
    head = svg.index(">", svg.index("<svg")) + 1
    data = _embed((svg[:head] + rules + svg[head:]).encode(), "svg+xml")
    return Figure(plot.text, plot.text, data, _link(run_dir, plot.path))


def _thumbnail(run_dir: Path, path: Path, title: str, alt: str) -> Figure:
    return Figure(title, alt, _embed(thumbnail(path).read_bytes(), "webp"), _link(run_dir, path))


def _environment(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    known = ("id", "config_digest", "commit", "seed", "threads", "started", "finished")
    plain = {key: manifest.get(key) for key in known}
    data = {f"data {key}": value for key, value in manifest.get("data", {}).items() if key != "files"}
    parts = plain | data | manifest.get("hardware", {}) | manifest.get("versions", {})
    return [
        (as_words(key), number(value if isinstance(value, int | float) else str(value)))
        for key, value in parts.items()
        if value not in (None, "")
    ]
