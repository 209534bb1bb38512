"""The command line: verbs only. torch is imported inside them, so that `suite --help` answers at once.

Exit codes: 0 done; 1 done with failed rows, a network that could not be loaded, or a verdict named by --fail-on; also 1
if interrupted, or not equal to the reference; 2 usage or configuration. Results go to stdout, the log to stderr.
"""

import ast
import errno
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.errors import ConfigError, SuiteError, did_you_mean
from suite.run.process import is_first

if TYPE_CHECKING:
    from PIL.Image import Image

    from suite.data.pictures import PictureResult

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich would take half of its time
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Can this saliency map be trusted? Handwritten methods checked against Captum, on real networks and photos.",
)

Model = Annotated[str, typer.Option(help="The network.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A YAML file, for example configs/quick.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example data.limit=5")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where the run lands; reports/<name> by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="A seeded, class-balanced sample of this many images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its passes; run nothing.")] = False,
    fail_on: Annotated[str, typer.Option(help="Verdicts that make the exit code 1: agreement:differs,...")] = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Runs a configuration, or goes on where it was stopped, and writes the report."""
    from suite.config import load

    conditions = _conditions(fail_on)
    settings = load(config, overrides or [], data__limit=limit, seed=seed)
    chosen = settings.studies.chosen()
    inner = [part for name in chosen if isinstance(part := getattr(settings.studies, name), dict)]
    named = {*chosen}.union(*(part.get("studies", {}) for part in inner))
    for study, verdict in conditions:
        if study not in named:
            has = ", ".join(chosen) or "none"
            raise ConfigError(f"--fail-on {study}:{verdict}: this run has no study {study!r}; it has {has}")
    folder = run_dir or Path("reports") / settings.name
    from suite.run.plan import passes
    from suite.run.runner import execute, prepare

    prepared = prepare(settings, fit=not dry_run)
    if dry_run:
        count = len(prepared.images.files)
        print(f"{settings.name}: {count} of {prepared.images.total} images, {len(prepared.items)} items of work")
        print(passes(settings, len(prepared.networks), count, prepared.studies, prepared.methods))
        raise typer.Exit(0)
    if is_first():
        alone = "" if chosen else "no studies asked for: predictions only\n"
        print(f"{alone}run directory: {folder}", file=sys.stderr)
    manifest = execute(prepared, folder)
    if is_first():
        raise typer.Exit(_close(folder, conditions, as_json=as_json, interrupted=manifest["status"] == "interrupted"))


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="A YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value")] = None,
    debug: Debug = False,
) -> None:
    """Checks a configuration: keys, types, names, parameters, layers, files. Runs nothing."""
    from suite.config import load

    settings = load(config, overrides or [])
    from suite.run.runner import prepare

    prepared = prepare(settings, fit=False)
    for title, reason in prepared.unavailable.items():
        print(f"network {title}: {'skipped' if reason['status'] == 'skipped' else 'missing'}: {reason['message']}")
    networks, count = ", ".join(prepared.networks), len(prepared.images.files)
    studies = ", ".join(settings.studies.chosen()) or "none, predictions only"
    print(f"{config}: ok; {count} of {prepared.images.total} images on {networks or 'no network'}; studies: {studies}")
    if any(reason["status"] == "failed" for reason in prepared.unavailable.values()):
        raise typer.Exit(1)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A run's directory.")],
    debug: Debug = False,
) -> None:
    """Makes tables, plots, pictures and report.html again from the rows. Needs no torch."""
    from suite.report import build

    print(build(run_dir))


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(help="The run to compare with.")],
    new: Annotated[Path, typer.Argument(help="The run that may be worse.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What changed beyond noise between two runs on the same photos. Exits 1 where something got worse."""
    from suite.report.compare import compare

    result = compare(base, new)
    print(_json(result.to_dict()) if as_json else result)
    raise typer.Exit(1 if result.regressed else 0)


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="A photo.")],
    model: Model = "squeezenet1_1",
    weights: Annotated[str, typer.Option(help="default, random, or a file")] = "default",
    method: Annotated[list[str] | None, typer.Option(help="A method; may be given several times.")] = None,
    target: Annotated[str, typer.Option(help="The class explained; the network's top class by default.")] = "",
    out: Annotated[Path | None, typer.Option(help="A folder; reports/explain/<image> by default.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Write the box that each map puts around the object.")] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Write the region that each map takes for the object.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Explains one photo: top predictions, maps as PNG, numbers; with --crop and --mask the object by map alone."""
    from suite.report.explained import write_explained
    from suite.run.explain import explain

    names = method or ["saliency", "guided_backprop", "grad_cam", "guided_grad_cam"]
    folder = _folder(out or Path("reports/explain") / image.stem)
    photo, explanations, numbers = explain(image, model, weights, names, target)
    written = write_explained(folder, photo, explanations, crop=crop, mask=mask)
    (folder / "numbers.json").write_text(_json(numbers) + "\n", encoding="utf-8")
    if as_json:
        print(_json(numbers | {"files": [str(path) for path in written]}))
    else:
        for line in numbers["predictions"]:
            print(f"{line['probability']:7.1%}  {line['class']}")
        print(f"explained: {numbers['target']['class']} ({numbers['target']['probability']:.1%})")
        for name, values in numbers["methods"].items():
            shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in values.items()}
            print(f"{name}: {', '.join(f'{key} {value}' for key, value in shown.items())}")
        print(f"written to {folder}")
    if any("failed" in values for values in numbers["methods"].values()):
        raise typer.Exit(1)


@app.command()
def attack(
    image: Annotated[Path, typer.Argument(help="A photo.")],
    method: Annotated[str, typer.Option(help="A name of `suite list attacks`.")] = "pgd",
    epsilon: Annotated[str, typer.Option(help="Radius in [0, 1] pixel units, for example 4/255.")] = "",
    target: Annotated[str, typer.Option(help="The class to reach: a name, an index or a synset id.")] = "",
    label: Annotated[str, typer.Option(help="The true class; what the network sees by default.")] = "",
    out: Annotated[Path, typer.Option(help="Where the PNG and the figure land.")] = Path("reports/attack"),
    parameter: Annotated[list[str] | None, typer.Option("--set", help="key=value, for example steps=40")] = None,
    model: Model = "squeezenet1_1",
    seed: Annotated[int, typer.Option(help="Seed of the random start.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fools the network with one photo: a PNG that is still fooled when read back, a figure, a line of numbers."""
    from suite.attacks.photo import PhotoAttack, attack_photo
    from suite.settings import parse_number
    from suite.studies.attacks.report import strip

    radius = parse_number("--epsilon", epsilon) if epsilon else None
    settings = PhotoAttack(model, method, _settings(parameter), radius, target, label, seed)
    result = attack_photo(image, _folder(out), settings)
    (_, photo, before), (_, adversarial, after) = result.frames
    figure = strip(photo, adversarial, before, after, [f"{method}: {image.name}"])
    _leave(result, figure, "-figure.png", _line(result.numbers), as_json)


@app.command()
def stylize(
    content: Annotated[str, typer.Argument(help="A photo: a file, or a name such as astronaut (see the README).")],
    style: Annotated[str, typer.Argument(help="A painting, likewise.")],
    preset: Annotated[str, typer.Option(help="composition_vii, the_scream or starry_night")] = "starry_night",
    model: Model = "squeezenet1_1",
    size: Annotated[int, typer.Option(min=32, max=2048, help="Pixels of the photo's shorter side.")] = 192,
    parameter: Annotated[list[str] | None, typer.Option("--set", help="key=value: form=raw, optimizer=lbfgs")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures land.")] = Path("reports/stylize"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Paints a photo as a painting: the picture, a strip, the numbers. Ctrl-C keeps what there is."""
    from suite.studies.style_transfer.report import strip
    from suite.synthesis.picture import PictureToPaint, stylize

    picture = PictureToPaint(content, style, preset, _settings(parameter), model, size)
    with _progress() as watch:
        result = stylize(picture, _folder(out), watch)
    numbers = result.numbers
    photo, painting, *steps = ((title, pixels) for title, pixels, _ in result.frames)
    below = [f"{preset} on {model}: {numbers['content']} painted as {numbers['style']}"]
    distances = ", ".join(f"{kind} distance {numbers[f'{kind}_distance']:.3f}" for kind in ("content", "style"))
    end = f"{result.file}: {numbers['steps']} steps; {distances} (0 is the photo, or the painting's style; 1 the other)"
    figure = strip(photo[1], painting[1], dict(steps), below)
    _leave(result, figure, "-strip.png", "\n".join([*numbers["notes"], end]), as_json)


@app.command()
def visualize(
    class_name: Annotated[str, typer.Argument(metavar="[CLASS]", help="A name, an index or a synset id.")] = "",
    model: Model = "squeezenet1_1",
    preset: Annotated[str, typer.Option(help="rdfia, cs231n, cs7643 or modern")] = "cs231n",
    layer: Annotated[str, typer.Option(help="What a layer looks for, instead of a class.")] = "",
    channel: Annotated[int | None, typer.Option(help="One channel of the layer.")] = None,
    init: Annotated[Path | None, typer.Option(help="A photo to begin from, instead of noise.")] = None,
    steps: Annotated[int | None, typer.Option(help="The preset's by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of noise and jitter.")] = 0,
    parameter: Annotated[list[str] | None, typer.Option("--set", help="key=value, for example rate=5")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures and numbers land.")] = Path("reports/visualize"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What does a class look like to the network? A picture, a strip of steps, numbers. Ctrl-C keeps what there is."""
    from suite.studies.visualization.report import sheet
    from suite.synthesis.picture import PictureToMake, make_picture

    changes = _settings(parameter)
    if channel is not None and not layer:
        raise ConfigError(f"--channel {channel}: a channel is of a layer; give --layer, and no class")
    if steps is not None and "steps" in changes:
        raise ConfigError("--steps and --set steps=...: give one of the two")
    changes |= {} if steps is None else {"steps": steps}
    with _progress() as watch:
        picture = PictureToMake(class_name, layer, channel, model, preset, changes, init, seed)
        result = make_picture(picture, _folder(out), watch)
    titles, tiles = [title for title, *_ in result.frames], [frame[1:] for frame in result.frames]
    figure = sheet(f"{result.numbers['wanted']} · {preset} · {model}", titles, [("", tiles)])
    _leave(result, figure, ".steps.png", _line(result.numbers), as_json)


@app.command()
def verify(
    function: Annotated[str, typer.Argument(help="package.module:function of (model, images, targets[, layer])")],
    against: Annotated[str, typer.Option(help="captum:NAME, suite:NAME or torchattacks:NAME")],
    model: Annotated[str, typer.Option(help="The real network, beside the small known ones.")] = "squeezenet1_1",
    data: Annotated[str, typer.Option(help="The source of its few photos.")] = "embedded",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Is my implementation right? A method or attack of one's own against a reference. Exits 0 only when equal."""
    from contextlib import redirect_stdout
    from dataclasses import asdict

    from suite.registry import build, load_object

    with redirect_stdout(sys.stderr):
        try:
            method = load_object(function)
        except SystemExit:
            raise ConfigError(f"{function!r}: its module exits when it is imported") from None
        method = build("method", function, method, {}) if isinstance(method, type) else method
        if not callable(method):
            raise ConfigError(f"{function!r}: not a function, but a {type(method).__name__}")
        from suite.verify.networks import cases
        from suite.verify.verify import verify

        result = verify(method, against, cases(model, data))
    named = {"function": function, "against": against, "equal": result.equal}
    print(_json(named | asdict(result)) if as_json else result)
    raise typer.Exit(0 if result.equal else 1)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="One of them; none says what there is.")] = "",
    model: Annotated[str, typer.Option(help="The network whose layers are listed.")] = "squeezenet1_1",
    weights: Annotated[str, typer.Option(help="default or random")] = "default",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Lists attributions, attacks, metrics, models, studies or a network's layers."""
    from suite.registry import ATTACKS, attributions, studies

    kinds = {
        "attributions": "methods that draw a map",
        "attacks": "methods that fool a network",
        "metrics": "what the studies measure, whose it is, and which way is better",
        "studies": "what a run can ask",
        "models": "networks, by who provides them",
        "layers": "of --model: where Grad-CAM can look",
    }
    if not what:
        entries = kinds
    elif what == "metrics":
        entries = _metrics()
    elif what == "models":
        from suite.models.load import known_networks

        entries = {name: provider for provider, names in known_networks().items() for name in names}
    elif what == "layers":
        from suite.core.layers import layer_names
        from suite.models.load import load_model

        network = load_model(model, weights=weights)
        entries = {name: "default target layer" if name == network.card.layer else "" for name in layer_names(network)}
    elif what in kinds:
        targets = {"attributions": attributions(), "attacks": ATTACKS, "studies": studies()}[what]
        entries = {name: _summary(target) for name, target in targets.items()}
    else:
        raise ConfigError(f"list {what!r}: unknown{did_you_mean(what, kinds)}; there are {', '.join(kinds)}")
    width = max(map(len, entries), default=0)
    print(_json(entries) if as_json else "\n".join(f"{n:{width}}  {text}".rstrip() for n, text in entries.items()))


def _metrics() -> dict[str, str]:
    from suite.metrics.cards import cards
    from suite.registry import metrics

    lines = {name: f"{card.family}: {card.line}" for name, card in cards().items()}
    return {name: _summary(target) for name, target in metrics().items() if name not in lines} | lines


def _summary(target: str) -> str:
    """First line of the docstring of `module:object`, or of a module, read from its source: nothing is imported."""
    from suite.registry import definition, syntax

    node = definition(target) if ":" in target else syntax(target)
    return (ast.get_docstring(node) or "").partition("\n")[0] if node else ""


def _conditions(fail_on: str) -> list[tuple[str, str]]:
    """`study:verdict,...` as pairs; each verdict is one that its study can give."""
    if not fail_on:
        return []
    from suite.report.sections import sections

    verdicts = {s.study: sorted(s.good | s.bad | s.sentences.keys()) for s in sections() if s.good or s.bad}
    pairs = []
    for part in filter(None, map(str.strip, fail_on.split(","))):
        study, colon, verdict = part.partition(":")
        if not colon or study not in verdicts:
            raise ConfigError(f"--fail-on {part!r}: expected study:verdict, for example agreement:differs")
        if verdict not in verdicts[study]:
            hint = did_you_mean(verdict, verdicts[study])
            raise ConfigError(f"--fail-on {part!r}: no such verdict{hint}; {', '.join(verdicts[study])}")
        pairs.append((study, verdict))
    return pairs


def _json(value: Any) -> str:
    """Strict JSON; NaN is null."""
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(value, inf_nan_mode="null"), indent=2)


def _line(numbers: dict[str, Any]) -> str:
    """Numbers on one line, without empty ones."""
    shown = {k: v for k, v in numbers.items() if v not in ("", None) and not isinstance(v, dict)}
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())


def _settings(parameters: list[str] | None) -> dict[str, Any]:
    """`--set key=value`, each once, values read as YAML."""
    import yaml

    settings: dict[str, Any] = {}
    for text in parameters or []:
        key, equals, value = text.partition("=")
        if not equals or not key or key in settings:
            raise ConfigError(f"--set {text!r}: expected key=value, each key once, for example steps=40")
        settings[key] = yaml.safe_load(value)
    return settings


def _folder(out: Path) -> Path:
    """Makes the folder for results, before the work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {str(out)!r} cannot be a folder: {error.strerror or error}; give another") from None
    return out


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar on stderr; called with the steps done, all steps, and a text."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("loading", total=None)
        yield lambda done, total, text: progress.update(bar, completed=done, total=total, description=text)


def _leave(result: "PictureResult", figure: "Image", suffix: str, line: str, as_json: bool) -> None:
    """Writes the figure and the numbers beside the picture, prints the numbers; exits 1 where there was a problem."""
    from suite.report.pictures import save_png

    save_png(figure, result.file.with_name(result.file.stem + suffix))
    text = _json(result.numbers)
    result.file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    print(text if as_json else line)
    if result.problem:
        print(result.problem, file=sys.stderr)
        raise typer.Exit(1)


def _close(folder: Path, conditions: list[tuple[str, str]], *, as_json: bool, interrupted: bool) -> int:
    """Writes the report, prints the verdicts, and decides the exit code."""
    from rich.console import Console

    from suite.report import build_with_tables, terminal_summary
    from suite.report.sections import headline, sections
    from suite.results import scan

    page, tables = build_with_tables(folder)
    verdicts = {s.study: tables[s.verdicts] for s in sections() if s.verdicts in tables}
    failed = sum(rows["status"].to_pylist().count("failed") for rows in scan(folder, columns=("status",)))
    if as_json:
        summary = {"run_dir": str(folder), "report": str(page), "failed_rows": failed}
        print(_json(summary | {"verdicts": {study: table.to_dict("records") for study, table in verdicts.items()}}))
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(terminal_summary(tables))
        print(f"report: {page}")
    met = []
    for study, verdict in (condition for condition in conditions if condition[0] in verdicts):
        lines = headline(verdicts[study])
        judged = lines[~lines["control"].astype(bool)] if "control" in lines else lines  # a control must lose
        met += [f"{study}:{verdict}"] * (verdict in set(judged["verdict"]))
    if met:
        print(f"--fail-on: {', '.join(met)}", file=sys.stderr)
    if failed:
        print(f"{failed} failed rows; the report names them", file=sys.stderr)
    return 1 if failed or met or interrupted else 0


def main() -> None:
    """Entry point: errors are one line on stderr, without a traceback unless --debug."""
    logging.basicConfig(level=logging.WARNING if is_first() else logging.CRITICAL, format="%(levelname)s: %(message)s")
    debug = "--debug" in sys.argv
    with suppress(FileNotFoundError):  # the folder may be gone
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # a user's own modules are importable, as with `python -m suite`
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit("interrupted")
    except (typer.TyperException, SuiteError) as error:
        if debug and isinstance(error, SuiteError):
            traceback.print_exc()
        message = error if isinstance(error, SuiteError) else error.format_message()
        print(f"suite: {message}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug or error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS):
            raise
        path = error.filename or "a file"
        print(
            f"suite: {path} cannot be written: {error.strerror}; make room and give the same command", file=sys.stderr
        )
        sys.exit(2)
