"""One self-contained page out of tables, plots and pictures: nothing in it is fetched from anywhere. No torch."""

import base64
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from suite.report.pictures import Sheet
from suite.report.present import TEXTS, display, header, is_numeric, number
from suite.report.style import GRID, INK, PAPER
from suite.results.atomic import write_bytes

PICTURES_SHOWN, PICTURE_BYTES, ROWS_SHOWN = 40, 120_000, 400
PLOTS_BYTES = 3_000_000
MARKS = {"equal": "✓", "within tolerance": "≈", "differs": "≠", "not applicable": "–", "failed": "✗"}
SENTENCES = {
    "equal": "is the same as the reference, to the last bit.",
    "within tolerance": "is the same as the reference up to rounding.",
    "differs": "is not the same as the reference.",
    "not applicable": "cannot be compared here.",
    "failed": "could not be compared.",
}
STATUS = {
    "done": "Finished.",
    "running": "Still running: this page shows what is done so far.",
    "interrupted": "Interrupted: this page shows what was done. The same command goes on from here.",
    "failed": "Ended with a failure: this page shows what was done.",
}
KINDS = {
    "difference": "How far from the reference",
    "cost": "What it costs",
    "heatmap": "Method against method",
    "pairs": "Method against method",
    "sharpness": "Sharpness",
}
# What the colours of the plots become in the dark.
_DARK = {INK: "#e4e8eb", GRID: "#3d464d", PAPER: "#171b1f"}


@dataclass(frozen=True)
class Figure:
    """A picture in the page: `data` is embedded, `link` is the relative address of the full size."""

    title: str
    alt: str
    data: str
    link: str


@dataclass(frozen=True)
class Table:
    """A table as text, with what its columns sort by."""

    name: str
    title: str
    note: str
    headers: list[tuple[str, bool]]
    rows: list[list[tuple[str, str]]]
    left_out: int


def write_html(
    run_dir: Path,
    manifest: dict[str, Any],
    tables: dict[str, pd.DataFrame],
    plots: dict[str, tuple[Path, str]],
    sheets: list[Sheet],
    grids: list[tuple[str, Path]],
) -> Path:
    """Writes report.html, under 10 MB whatever the run: what does not fit is linked, and said to be."""
    environment = Environment(
        loader=PackageLoader("suite.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    style, script = (_source(environment, name) for name in ("report.css", "report.js"))
    shown_plots, more_plots = _plots(run_dir, plots)
    page = environment.get_template("report.html.j2").render(
        manifest=manifest,
        status=STATUS.get(manifest["status"], manifest["status"]),
        took=_took(manifest),
        verdicts=_verdicts(tables.get("agreement_verdicts")),
        tables={name: _table(name, table) for name, table in tables.items()},
        accuracy=tables["accuracy"].to_dict("records") if "accuracy" in tables else [],
        n_failed=int((tables["failures"]["status"] == "failed").sum()) if "failures" in tables else 0,
        plots=shown_plots,
        more_plots=more_plots,
        grids=[_thumbnail(run_dir, path, f"{model}: photos by methods", _GRID_ALT) for model, path in grids[:4]],
        pictures=[_picture(run_dir, sheet) for sheet in sheets[:PICTURES_SHOWN]],
        pictures_left_out=len(sheets[PICTURES_SHOWN:]),
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


_GRID_ALT = "A row a photo, a column a method: the handwritten maps over the grey photo."


def _source(environment: Environment, name: str) -> str:
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embed(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _link(run_dir: Path, path: Path) -> str:
    return quote(path.relative_to(run_dir).as_posix())


def _took(manifest: dict[str, Any]) -> str:
    if not (manifest.get("started") and manifest.get("finished")):
        return ""
    seconds = (
        datetime.fromisoformat(manifest["finished"]) - datetime.fromisoformat(manifest["started"])
    ).total_seconds()
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _verdicts(table: pd.DataFrame | None) -> list[dict[str, str]]:
    if table is None:
        return []
    lines = [{str(key): number(value) for key, value in line.items()} for line in table.to_dict("records")]
    return [line | {"mark": MARKS[line["verdict"]], "sentence": SENTENCES[line["verdict"]]} for line in lines]


def _table(name: str, table: pd.DataFrame) -> Table:
    title, note = TEXTS[name]
    if "method" in table and name != "failures" and table.get("model", pd.Series()).nunique() == 1:
        table = table.drop(columns="model")  # the same in every line
    shown = display(table.head(ROWS_SHOWN))
    columns = [column for column in table.columns if header(column) in shown.columns]
    numeric = [is_numeric(table[column]) for column in columns]
    keys = [[str(value) if pd.notna(value) else "" for value in table[column].head(ROWS_SHOWN)] for column in columns]
    rows = [
        [(cell, key[i] if is_number else cell) for cell, key, is_number in zip(line, keys, numeric, strict=True)]
        for i, line in enumerate(shown.itertuples(index=False, name=None))
    ]
    return Table(
        name, title, note, list(zip(shown.columns, numeric, strict=True)), rows, max(0, len(table) - ROWS_SHOWN)
    )


def _plots(run_dir: Path, plots: dict[str, tuple[Path, str]]) -> tuple[dict[str, list[Figure]], list[Figure]]:
    """The plots embedded, by kind and up to a size, and those only linked."""
    shown: dict[str, list[Figure]] = {}
    more, taken = [], 0
    # The picture follows the reader's light or dark setting by itself.
    light, dark = ("".join(f"--c{i}:{pair[k]};" for i, pair in enumerate(_DARK.items())) for k in (0, 1))
    rules = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    for name, (path, text) in plots.items():
        svg = path.read_text(encoding="utf-8")
        for i, colour in enumerate(_DARK):
            svg = svg.replace(colour, f"var(--c{i})")
        head = svg.index(">", svg.index("<svg")) + 1
        data = _embed((svg[:head] + rules + svg[head:]).encode(), "svg+xml")
        figure = Figure(text, text, data, _link(run_dir, path))
        if taken + len(data) <= PLOTS_BYTES:
            taken += len(data)
            shown.setdefault(KINDS[name.partition("-")[0]], []).append(figure)
        else:
            more.append(figure)
    return shown, more


def _picture(run_dir: Path, sheet: Sheet) -> Figure:
    title = f"{sheet.label or sheet.image} · {sheet.model}"
    sees = f" The network sees {sheet.prediction}." if sheet.prediction else ""
    alt = f"Photo {sheet.image}, {sheet.label or 'no label'}.{sees} Its maps by hand, by Captum, and their difference."
    return _thumbnail(run_dir, sheet.picture, title, alt)


def _thumbnail(run_dir: Path, path: Path, title: str, alt: str) -> Figure:
    """A WebP of at most `PICTURE_BYTES`, smaller in quality and then in size until it is."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width = 1300
    while True:
        small = (
            image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS, reducing_gap=2)
            if width < image.width
            else image
        )
        for quality in (82, 64, 46):
            file = io.BytesIO()
            small.save(file, "WEBP", quality=quality, method=2)
            if file.tell() <= PICTURE_BYTES:
                return Figure(title, alt, _embed(file.getvalue(), "webp"), _link(run_dir, path))
        width = round(width * 0.8)


def _environment(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    plain = {
        key: manifest.get(key) for key in ("id", "config_digest", "commit", "seed", "threads", "started", "finished")
    }
    data = {f"data {key}": value for key, value in manifest.get("data", {}).items() if key != "files"}
    parts = plain | data | manifest.get("hardware", {}) | manifest.get("versions", {})
    return [
        (key.replace("_", " "), number(value if isinstance(value, int | float) else str(value)))
        for key, value in parts.items()
        if value not in (None, "")
    ]
