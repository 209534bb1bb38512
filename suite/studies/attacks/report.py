"""The section on attacks: how easily the network is fooled, whether the attack is sound, and how it looks. No torch."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from suite.attacks.audit_lines import LINES, SCOPE
from suite.metrics.statistics import wilson_interval
from suite.report.figures import draw_curve, draw_sides, draw_strips, legend, log_scale
from suite.report.pictures import Picture, newer, photo_grid, save_png, saved, signed_methods
from suite.report.sections import (
    Compared,
    Plot,
    Section,
    Tables,
    by_metric,
    groups,
    mean_with_interval,
    ok,
    records,
    share_with_interval,
    summarise,
    with_ends,
)  # fmt: skip
from suite.report.style import COLOURS, MARKERS, PALETTE, Figure, canvas, label
from suite.report.tiles import Tile, sheet
from suite.report.words import class_name, number


def strip(photo: NDArray[Any], adversarial: NDArray[Any], before: str, after: str, words: Sequence[str]) -> Image.Image:
    """Photo, adversarial image (both (H, W, 3) in 0..255), their difference, and ten times it, side by side.

    `before` and `after` are what the network sees in the two, `words` are lines below.
    """
    difference = np.asarray(adversarial, float) - photo
    once, tenfold = (np.clip(127.5 + times * difference, 0, 255).round().astype(np.uint8) for times in (1, 10))
    tiles = [
        Tile("photo", photo, below=before),
        Tile("adversarial", adversarial, below=after),
        Tile("difference", once, below="grey is no change"),
        Tile("difference × 10", tenfold, below=f"largest change {np.abs(difference).max():.1f} of 255"),
    ]
    return sheet([("", tiles)], notes=words)


TEXTS = {
    "attacks_verdicts": (
        "Audit of the attack",
        "Is the attack itself sound? Each line has its number, the most it may be, and who asks for it (C Carlini "
        f"2019, A AutoAttack, I Pintor 2022, S this suite). Controls are faults planted on purpose: pass means "
        f"noticed. {SCOPE}",
    ),
    "attacks_robust": (
        "Accuracy under attack",
        "Clean accuracy, and the share of all photos that no attack of that norm fools: an upper bound of robust "
        "accuracy, by these attacks; a better attack can only lower it. Wilson's 95% interval over photos, of that "
        "bound. Noise is no attack.",
    ),
    "attacks_success": (
        "Success by epsilon",
        "Of the photos that the network has right, the share fooled within epsilon, with Wilson's 95% interval over "
        "photos, and as read back from an 8-bit PNG. Of noise of that size it is the mean over photos of the share of "
        "its draws that fool the photo, the interval again over photos, as wide as if a photo's draws all agreed; "
        "photos fooled are then those that any draw fools. The other columns are medians over the photos attacked "
        "at that epsilon (of noise, of its first draw): those fooled within a smaller one are not attacked again. "
        "Passes are forwards plus backwards a photo; noise takes one a draw.",
    ),
    "attacks_minimal": (
        "Smallest epsilon that fools",
        "Quantiles over photos of an upper bound found by bisection, to 10%, by the attack named: its momentum, "
        "schedule, restarts and loss, any iterate counting; a step of a fixed size keeps its ratio to the setting `at` "
        "(in L2 to 1). Linf in 255ths, L2 in units of [0, 1].",
    ),
    "attacks_targeted": (
        "Aimed at a class",
        "Share of photos of other classes taken to the target, with Wilson's 95% interval over photos: the attack "
        "named within epsilon, and the coursework's fooling image kept in [0, 1] without a bound on its size.",
    ),
    "attacks_confusion": ("Where the photos go", "What the network sees instead, by untargeted attack and label."),
    "attacks_transfer": (
        "Transfer",
        "Share of the images made against one network, by the attack named without early stop, that fool another, of "
        "the photos that both have right.",
    ),
    "attacks_maps": (
        "Maps under attack",
        "How much of a photo's map is left (Spearman, overlap of the top tenth) once it is attacked, beside one draw "
        "of noise of the same size: the label is explained in both. Then whether the map of the new class shows the "
        "perturbation, and which share of its energy lies on the tenth of pixels where the map of the label (source) "
        "or of the new class (target) is largest: 0.1 is chance. Where photos have boxes, which share lies in the "
        "object's; that of noise is about their area. The fooling image is the coursework's, kept in [0, 1], and its "
        "noise has its L2 norm; the other attack runs without early stop, and so spends all of its box. Means over "
        "photos with 95% intervals.",
    ),
    "attacks_alignment": (
        "Do the maps follow the picture?",
        "Spearman of the size of a map with the brightness of the picture, unattacked, with the 95% interval of its "
        "mean. On a bright thing on black, such as a digit, it says how well the map follows it; on photos little.",
    ),
    "attacks_limits": (
        "Limits of the naive attack",
        "The fooling image as CS231n has it, aimed at the least likely class. Swept: x is the step's length, at most "
        "20 steps. Past: x is how many steps of length 10 are taken whether fooled or not; the share of pixels outside "
        "[0, 1] says when it is no image any more, SSIM when it is no longer the photo.",
    ),
    "attacks_agreement": (
        "Beside torchattacks",
        "Ours and torchattacks 3.5.1's, from one start to the last iterate, as that library has it: photos whose "
        "images are equal in every bit, and whose verdicts are equal. Norms are medians.",
    ),
}


def _verdicts(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for line in records(rows[rows["metric"] == "audit"]):
        audited = LINES.get(line["line"])
        if audited is None:
            continue
        run = line["status"] == "ok"
        bound = f"{audited.number}: {number(line['value'])}, at most {audited.limit:g} ({audited.source})"
        reason = "; ".join(filter(None, [bound if run else "", line["message"]]))
        verdict = audited.verdict(line["value"]) if run else "not run"
        lines.append({"model": line["model"], "method": line["method"], "measure": audited.title, "verdict": verdict})
        lines[-1] |= {"reason": reason, "value": line["value"], "limit": audited.limit, "source": audited.source}
    if not lines:
        return pd.DataFrame()
    order = {audited.title: i for i, audited in enumerate(LINES.values())}
    table = pd.DataFrame(lines).sort_values("measure", key=lambda s: s.map(order), kind="stable")
    overall = [
        {"model": model, "method": method, "measure": "overall"} | _in_all(part)
        for (model, method), part in groups(table, "model", "method")
    ]
    return pd.concat([pd.DataFrame(overall), table], ignore_index=True)


def _in_all(lines: pd.DataFrame) -> dict[str, str]:
    """The worst of an audit's lines, and which did not pass."""
    measures = lines.groupby("verdict")["measure"].agg(list)
    passed = len(measures.get("pass", ()))
    reason = f"Its own audit: {passed} of {len(lines)} lines pass"
    for verdict in ("fail", "warn", "not run"):
        reason += f"; {verdict}: {', '.join(measures[verdict])}" if verdict in measures else ""
    verdict = next((v for v in ("fail", "warn") if v in measures), "pass" if passed else "not run")
    return {"verdict": verdict, "reason": reason}


def _success(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for (model, norm, method, x), group in groups(
        ok(rows[rows["question"] == "curve"]), "model", "norm", "method", "epsilon"
    ):
        values = by_metric(group)
        line = {"model": model, "norm": norm, "method": method, "control": bool(group["control"].any()), "epsilon": x}
        if norm == "linf":
            line["epsilon_255"] = x * 255
        line |= share_with_interval("success", values["success"])
        line |= {"photos_fooled": int((values["success"] > 0).sum()), "attacked": len(values.get("forwards", ()))}
        line["saved_success"] = float(values["saved_success"].mean()) if "saved_success" in values else np.nan
        for name in ("iterations", "confidence", "l0", "l2", "linf", "ssim"):
            line[name] = float(values[name].median()) if name in values else np.nan
        line["zero_gradients"] = float(values.get("zero_gradients", pd.Series([0.0])).sum())
        line["passes"] = sum(float(values[name].mean()) for name in ("forwards", "backwards") if name in values)
        lines.append(line)
    return pd.DataFrame(lines)


def _robust(rows: pd.DataFrame) -> pd.DataFrame:
    """Pointwise worst case: a photo counts as right where it is right and no attack of that norm fools it."""

    def line(group: pd.DataFrame) -> dict[str, Any]:
        right = ok(group).groupby("image")["value"].max()  # 1 where some attack fools it
        photos, robust = group["image"].nunique(), int((right == 0).sum())
        numbers = {"photos": photos, "clean_accuracy": len(right) / photos}
        numbers |= with_ends("robust_at_most", robust / photos, wilson_interval(robust, photos))
        return numbers | {"attacks": ", ".join(sorted(set(group["method"])))}

    study = rows[(rows["question"] == "curve") & (rows["metric"] == "success") & ~rows["control"]]
    return summarise(study, ["model", "norm", "epsilon"], line)


def _minimal(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        values = group["value"].fillna(np.inf) * (255 if group["norm"].iloc[0] == "linf" else 1)
        percents = (10, 25, 50, 75, 90)
        return {"n": len(group)} | {f"q{q}": values.quantile(q / 100, interpolation="lower") for q in percents}

    return summarise(rows[rows["metric"] == "minimal_epsilon"], ["model", "norm", "method"], line)


def _targeted(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        values = by_metric(group)
        numbers = {"epsilon": group["epsilon"].iloc[0]} | share_with_interval("success", values["success"])
        numbers["saved_success"] = values["saved_success"].mean()
        names = [name for name in ("iterations", "l2", "linf", "ssim") if name in values]
        return numbers | {name: values[name].median() for name in names}

    return summarise(ok(rows[rows["question"] == "targeted"]), ["model", "method", "goal"], line)


def _confusion(rows: pd.DataFrame, manifest: dict[str, Any]) -> pd.DataFrame:
    study = ok(rows[(rows["question"] == "curve") & ~rows["control"]])
    keys = ["model", "method", "image", "epsilon"]
    hit = study[(study["metric"] == "success") & (study["value"] == 1)]
    predicted = study[study["metric"] == "prediction"].merge(hit[keys], on=keys)  # of photos attacked at that epsilon
    lines = []
    for (model, method, target, value), group in groups(predicted, "model", "method", "target", "value"):
        named = manifest if model in manifest.get("models", {}) else {}  # digits have no names
        line = {"model": model, "method": method, "photos": len(group)}
        lines.append(line | {"label": class_name(target, named), "prediction": class_name(value, named)})
    return pd.DataFrame(lines)


def _transfer(rows: pd.DataFrame) -> pd.DataFrame:
    keys = ["model", "method", "other_model", "epsilon"]
    return summarise(
        ok(rows[rows["metric"] == "transfer_success"]),
        keys,
        lambda group: share_with_interval("success", group["value"]),
    )


_OF_MAPS = (
    "map_spearman", "map_top10_overlap", "shows_perturbation", "energy_in_source_map", "energy_in_target_map",
    "energy_in_object",
)  # fmt: skip


def _maps(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        by_images = group.pivot(index="image", columns="images", values="value").reindex(columns=["attack", "noise"])
        columns = {"attacked": by_images["attack"], "noise": by_images["noise"]}
        columns["attacked_less_noise"] = by_images["attack"] - by_images["noise"]
        numbers: dict[str, float] = {}
        for name, values in columns.items():
            numbers |= mean_with_interval(name, values.dropna())
        return numbers

    return summarise(ok(rows[rows["metric"].isin(_OF_MAPS)]), ["metric", "model", "attack", "method"], line)


def _alignment(rows: pd.DataFrame) -> pd.DataFrame:
    study = ok(rows[rows["metric"] == "alignment"])
    return summarise(study, ["model", "method"], lambda group: mean_with_interval("alignment", group["value"]))


def _limits(rows: pd.DataFrame) -> pd.DataFrame:
    names = ["success", "saved_success", "confidence", "outside", "ssim", "l2", "linf", "iterations"]

    def line(group: pd.DataFrame) -> dict[str, Any]:
        means = group.groupby("metric")["value"].mean()
        return {"n": group["image"].nunique(), **means.reindex(names)}

    study = ok(rows[rows["question"].isin(["swept", "past"])])
    return summarise(study, ["model", "question", "step_size", "steps"], line)


def _agreement(rows: pd.DataFrame) -> pd.DataFrame:
    def line(group: pd.DataFrame) -> dict[str, Any]:
        values = by_metric(group)
        numbers: dict[str, float] = {"n": len(values["bit_equal"])}
        numbers |= {f"{name}_n": int(values[name].sum()) for name in ("bit_equal", "verdict_equal", "unequal_pixels")}
        return numbers | {name: values[name].median() for name in ("own_l2", "library_l2", "own_linf", "library_linf")}

    study = ok(rows[rows["question"] == "agreement"])
    return summarise(study, ["model", "method", "epsilon"], line)


def _tables(rows: pd.DataFrame, manifest: dict[str, Any]) -> Tables:
    makers = {
        "verdicts": _verdicts, "robust": _robust, "success": _success, "minimal": _minimal, "targeted": _targeted,
        "transfer": _transfer, "maps": _maps, "alignment": _alignment, "limits": _limits, "agreement": _agreement,
    }  # fmt: skip
    tables = {f"attacks_{name}": make(rows) for name, make in makers.items()}
    return tables | {"attacks_confusion": _confusion(rows, manifest)}


def _plots(rows: pd.DataFrame, tables: Tables) -> Iterable[Plot]:
    for (model, norm), table in groups(tables.get("attacks_success", pd.DataFrame()), "model", "norm"):
        text = f"Security curves of {model} in {_NORMS[norm]}: share of the right photos fooled within epsilon, "
        text += "of noise the share of its draws that fool; 95% intervals over photos."
        yield Plot(f"attacks-curve-{model}-{norm}", text, partial(_curve, table, norm))
    least = rows[rows["metric"] == "minimal_epsilon"]
    for (model, norm), table in groups(least, "model", "norm"):
        text = f"The smallest epsilon that fools, an upper bound, on {model}, in {_NORMS[norm]}; a dot a photo."
        yield Plot(f"attacks-minimal-{model}-{norm}", text, partial(_least, table, norm))
    maps = tables.get("attacks_maps", pd.DataFrame({"metric": []}))  # an attack may have numbers of boxes alone
    for (model, attack), left in groups(maps[maps["metric"] == "map_spearman"], "model", "attack"):
        text = f"How much of each map is left on {model} ({attack}), and under noise of the same size; 1 is all."
        yield Plot(f"attacks-maps-{model}-{attack}", text, partial(_moved, left))


def _findings(tables: Tables) -> Iterable[dict[str, Any]]:
    """The smallest epsilon tried that fools half of the photos, an attack and norm."""
    table = tables.get("attacks_success", pd.DataFrame())
    for (model, norm, method), part in groups(table, "model", "norm", "method"):
        if part["control"].any() or not (part["epsilon"] > 0).any():
            continue
        half = part[part["success"] >= 0.5].sort_values("epsilon").head(1)
        at = (half if len(half) else part.sort_values("epsilon").tail(1)).iloc[0]
        size = f"{at['epsilon'] * 255:.3g}/255" if norm == "linf" else f"{at['epsilon']:.3g}"
        noise = table[(table["model"] == model) & (table["norm"] == norm) & table["control"].astype(bool)]
        noise_lines = records(noise[noise["epsilon"] == at["epsilon"]])
        form = "; noise of that size: {success:.0%} of draws fool [{success_low:.0%}, {success_high:.0%}], "
        form += "{photos_fooled} of {n} photos by any draw"
        noise_words = form.format(**noise_lines[0]) if noise_lines else ""
        verdict, photos = f"{norm.title()} {size}", f"the {at['n']:.0f} photos that were right"
        share = f"{at['success']:.0%} [{at['success_low']:.0%}, {at['success_high']:.0%}]"
        if len(half):
            reason = f"The smallest epsilon tried that fools half of {photos}: there {share} are fooled"
        else:
            verdict, reason = f"beyond {verdict}", f"Fools {share} of {photos} at the largest tried"
        yield {"model": model, "method": method, "verdict": verdict, "reason": reason + noise_words}


_NORMS = {"linf": "the largest change of a pixel (Linf)", "l2": "L2"}


def _curve(table: pd.DataFrame, norm: str) -> Figure:
    figure, ax = canvas(3.4)
    scale = 255 if norm == "linf" else 1
    for k, (method, part) in enumerate(groups(table, "method")):
        colour, line = (COLOURS["bare"], ":") if part["control"].any() else (PALETTE[k % 10], "-")
        look = {"color": colour, "ls": line, "marker": MARKERS[k % 5], "ms": 5}
        ends = part["success_low"], part["success_high"]
        draw_curve(ax, part["epsilon"] * scale, part["success"], ends, label(method), **look)
    positive = sorted(set(table.loc[table["epsilon"] > 0, "epsilon"] * scale))
    if positive:
        ax.set_xscale("symlog", base=2, linthresh=positive[0])
        ax.set_xticks([0, *positive], map(number, [0, *positive]), fontsize=8)
        ax.minorticks_off()
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("epsilon in 255ths" if norm == "linf" else "epsilon, L2 in pixels of [0, 1]")
    ax.set_ylabel("share fooled")
    legend(figure, 3)
    return figure


def _least(table: pd.DataFrame, norm: str) -> Figure:
    scale, unit = (255, " in 255ths") if norm == "linf" else (1, ", L2")
    strips = {method: part["value"].dropna() * scale for method, part in groups(table, "method")}
    figure, ax = canvas(1.3 + 0.5 * len(strips))
    draw_strips(ax, strips)
    log_scale(ax)
    ax.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
    ax.set_xlabel(f"smallest epsilon that fools{unit}; the bar is the median; log axis")
    return figure


def _moved(table: pd.DataFrame) -> Figure:
    sides = {"noise": ("under noise", "bare", "s"), "attacked": ("under attack", "captum", "o")}
    figure, ax = draw_sides(table, sides)
    ax.set_xlabel("Spearman of the map before and after: mean over photos, 95% interval")
    return figure


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    signed, pictures = signed_methods(manifest), []
    for source, model, arrays in saved(run_dir, "attacks-*.npz", manifest):
        image, title, before, after = (str(arrays[name]) for name in ("id", "title", "before", "after"))
        path = source.with_suffix(".png")
        if not newer(path, source):
            words = [f"{title} · {model} · {image}"]
            save_png(strip(arrays["photo"], arrays["adversarial"], before, after, words), path)
        alt = f"{image}: {before}; after the attack ({title}) {after}."
        pictures.append((path, f"{title} · {model}", alt))
        lines = []
        for moment, words_of, name in (("before", before, "photo"), ("after", after, "adversarial")):
            maps = {key.replace(moment, "own", 1): arrays[key] for key in arrays if key.startswith(f"{moment}|")}
            lines.append((moment, words_of, maps | {"photo": arrays[name]}))
        if any(key.startswith("before|") for key in arrays):
            path = path.with_name(f"{path.stem}-maps.png")
            if not newer(path, source):
                save_png(photo_grid(lines, signed), path)
            alt = f"{image}: maps of the class {before.rpartition(',')[0]} before and after the attack."
            pictures.append((path, f"Maps before and after · {title} · {model}", alt))
    return pictures


SECTION = Section(
    study="attacks",
    title="How easily is the network fooled, and is the attack sound?",
    order=("question", "step_size", "steps", "method", "attack", "goal", "other_model"),
    question="Fooled by how little?",
    of_network=True,
    texts=TEXTS,
    tables=_tables,
    plots=_plots,
    draw=_draw,
    findings=_findings,
    compared=Compared(skipped=frozenset({"prediction"})),
    good=frozenset({"pass"}),
    bad=frozenset({"fail"}),
    headers={
        "epsilon_255": "in 255ths",
        "robust_at_most": "right under attack, at most [95%]",
        "success": "success [95%]",
        "alignment": "alignment [95%]",
        "saved_success": "as saved",
        "photos_fooled": "photos fooled",
        "bit_equal_n": "bit-equal",
        "verdict_equal_n": "verdict equal",
        "unequal_pixels_n": "unequal pixels",
    },
)
