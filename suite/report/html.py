"""One self-contained page out of tables, plots and pictures: nothing in it is fetched from anywhere. No torch."""

import base64
import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from suite.core.atomic import write_bytes
from suite.report.pictures import SIDES, Photo, Picture, thumbnail
from suite.report.present import columns_shown, display, is_numeric, texts
from suite.report.sections import MARKS, Section, Tables, headline, records, sections
from suite.report.style import GRID, INK, PAPER, slug
from suite.report.words import number

PICTURES_SHOWN, ROWS_SHOWN = 24, 400
PLOTS_BYTES, PICTURES_BYTES = 3_000_000, 4_000_000
_ELSE = "And besides"
Plots = dict[str, list[tuple[Path, str]]]
Part = dict[str, Any]  # the template's values for one table, figure, study, photo or method
# The plots' colours and their replacements in the dark.
_DARK = {INK: "#e4e8eb", GRID: "#3d464d", PAPER: "#171b1f"}


def write_html(
    run_dir: Path,
    manifest: dict[str, Any],
    tables: Tables,
    plots: Plots,
    pictures: dict[str, list[Picture]],
    photos: list[Photo],
) -> Path:
    """Writes report.html, under 10 MB whatever the run: files that do not fit are linked.

    Tables are by name, plots and pictures by study, `photos` those with maps; links are relative to `run_dir`.
    """
    loader = PackageLoader("suite.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    shown = {name: _table(name, table) for name, table in tables.items()}
    chapters = _chapters(run_dir, tables, shown, plots, pictures)
    photos_shown = _photos(run_dir, photos)
    methods = _methods(manifest, [line for chapter in chapters for line in chapter["verdicts"]], photos_shown)
    failures = tables.get("failures", pd.DataFrame({"status": []}))
    page = environment.get_template("report.html.j2").render(
        manifest=manifest,
        took=_took(manifest),
        chapters=chapters,
        questions=_questions(chapters),
        methods=methods,
        anchors={number(method["label"]): method["anchor"] for method in methods},
        photos=photos_shown,
        photos_left_out=len(photos) - len(photos_shown),
        tables=shown,
        n_failed=int((failures["status"] == "failed").sum()),
        config=yaml.safe_dump(manifest["config"], sort_keys=False, allow_unicode=True),
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
    )
    path = run_dir / "report.html"
    write_bytes(path, page.encode("utf-8", "backslashreplace"))
    return path


def _chapters(
    run_dir: Path, tables: Tables, shown: dict[str, Part], plots: Plots, pictures: dict[str, list[Picture]]
) -> list[Part]:
    """The studies that have tables or figures, in the page's order; plots are embedded up to a total size."""
    chapters, size = [], 0
    for section in sections():
        embedded, linked = list[Part](), list[Part]()
        for figure in (_plot(run_dir, *plot) for plot in plots.get(section.study, [])):
            fits = size + len(figure["data"]) <= PLOTS_BYTES
            (embedded if fits else linked).append(figure)
            size += len(figure["data"]) if fits else 0
        own = [shown[name] for name in section.texts if name in shown and not _on_first_page(section, name, tables)]
        thumbnails = [_thumbnail(run_dir, *picture) for picture in pictures.get(section.study, [])[: section.shown]]
        if own or embedded or linked or thumbnails:
            chapter = {"section": section, "verdicts": _verdicts(section, tables, own), "tables": own}
            chapters.append(chapter | {"plots": embedded, "more_plots": linked, "pictures": thumbnails})
    return chapters


def _on_first_page(section: Section, name: str, tables: Tables) -> bool:
    """Whether all of a table of verdicts stands at the top of the page already."""
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


def _verdicts(section: Section, tables: Tables, shown: list[Part]) -> list[Part]:
    """A study's lines at the top of the page, with the names of their evidence."""
    judged = records(headline(tables[section.verdicts])) if section.verdicts in tables else []
    evidence = shown[0]["name"] if shown else f"study-{section.study}"
    lines = []
    for record in (*section.findings(tables), *judged):
        line = {"stability": "", "control": "no", "measure": ""} | {key: number(value) for key, value in record.items()}
        tone = section.tone(line["verdict"])
        mark = MARKS[tone] if "measure" in record else ""  # a finding is no verdict
        line |= {"tone": tone, "mark": mark, "sentence": section.sentences.get(line["verdict"], "")}
        lines.append(line | {"study": section.study, "evidence": evidence})
    return lines


def _questions(chapters: list[Part]) -> list[tuple[str, list[Part]]]:
    """The questions that have an answer, with the studies that give it."""
    answers = {section.question or _ELSE: list[Part]() for section in sections()}
    answers[_ELSE] = answers.pop(_ELSE)
    for chapter in chapters:
        if chapter["verdicts"] and not chapter["section"].beside:  # a section with `beside` stands by itself
            answers[chapter["section"].question or _ELSE].append(chapter)
    return [(question, chapters_of) for question, chapters_of in answers.items() if chapters_of]


def _photos(run_dir: Path, photos: list[Photo]) -> list[Part]:
    """As many photos as are shown and fit: `data` holds a photo's tiles, `ratio` is a tile's height over its width."""
    shown, size = list[Part](), 0
    for photo in photos[:PICTURES_SHOWN]:
        data = _embed(photo.strip.read_bytes(), "webp")
        size += len(data)
        if shown and size > PICTURES_BYTES:
            break
        with Image.open(photo.strip) as image:
            ratio = (image.height / len(SIDES)) / (image.width / (1 + len(photo.methods)))
        shown.append({"data": data, "link": _link(run_dir, photo.full), "ratio": ratio, "photo": photo})
    return shown


def _methods(manifest: dict[str, Any], lines: list[Part], photos: list[Part]) -> list[Part]:
    """Verdicts and tiles of each method; `tiles` are pairs of a photo and the tile's column."""
    methods = []
    for i, (label, info) in enumerate(manifest.get("methods", {}).items()):
        columns = [list(shown["photo"].methods) for shown in photos]
        method = {"anchor": f"method-{i}-{slug(label)}", "label": label, "info": info}
        method |= {"verdicts": [line for line in lines if line["method"] == number(label)]}
        method |= {"tiles": [(k, names.index(label)) for k, names in enumerate(columns) if label in names]}
        methods.append(method)
    return methods


def _table(name: str, table: pd.DataFrame) -> Part:
    """A table as text: headers with whether they are numeric, and rows of cells, each with what it sorts by."""
    title, note = texts()[name]
    if "method" in table and name != "failures" and table.get("model", pd.Series()).nunique() == 1:
        table = table.drop(columns="model")  # the same in every line
    left_out, table = max(0, len(table) - ROWS_SHOWN), table.head(ROWS_SHOWN)
    shown, columns, cells = display(table, name), columns_shown(table), []
    numeric = [is_numeric(table[column]) for column in columns]
    for k, column in enumerate(columns):
        keys = [str(value) if pd.notna(value) else "" for value in table[column]] if numeric[k] else shown.iloc[:, k]
        cells.append(list(zip(shown.iloc[:, k], keys, strict=True)))
    heads, rows = list(zip(shown.columns, numeric, strict=True)), list(zip(*cells, strict=True))
    part = {"name": name, "title": title, "note": note, "headers": heads, "columns": columns}
    return part | {"rows": rows, "left_out": left_out}


def _plot(run_dir: Path, path: Path, text: str) -> Part:
    """An SVG that follows the reader's light or dark setting by itself."""
    light = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK))
    dark = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK.values()))
    rules = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    svg = path.read_text(encoding="utf-8")
    for i, colour in enumerate(_DARK):
        svg = svg.replace(colour, f"var(--c{i})")
    head = svg.index(">", svg.index("<svg")) + 1
    data = _embed((svg[:head] + rules + svg[head:]).encode(), "svg+xml")
    return {"title": text, "alt": text, "data": data, "link": _link(run_dir, path)}


def _thumbnail(run_dir: Path, path: Path, title: str, alt: str) -> Part:
    data = _embed(thumbnail(path).read_bytes(), "webp")
    return {"title": title, "alt": alt, "data": data, "link": _link(run_dir, path)}
