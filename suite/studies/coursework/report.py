"""What two courses ask: each question with its usual answer, the measured one, and whether the usual one held.

Every answer is worked out from the tables of the other sections; a question whose numbers are absent says so. Pure but
for its pictures; no torch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from suite.report.pictures import Picture, load, photo_grid, save_png, signed_methods
from suite.report.sections import Section, Tables, records, sections
from suite.report.style import slug
from suite.report.words import number

NAME = "coursework"
HELD, PART, BROKE, UNCLEAR, NOT_RUN = "held", "held in part", "did not hold", "unclear", "not run"
GUIDED = ("guided_backprop", "grad_cam", "guided_grad_cam")
LAYERS = ("layer_conductance", "grad_cam", "neuron_gradient")
SHORT = {
    "guided_backprop": "Guided BP", "grad_cam": "Grad-CAM", "guided_grad_cam": "Guided CAM",
    "layer_conductance": "conductance", "neuron_gradient": "neuron",
}  # fmt: skip
SQUEEZE = {"model": "squeezenet1_1"}  # the network that the courses ask about
STANDS = ". The courses' photos are in no package; the nearest ones stand in"
SURE = 0.94  # confidence from which a picture counts as seen
Answer = tuple[str, str]  # one of the words above, and the numbers


class Missing(Exception):
    """A question whose numbers this run does not have; says which."""


@dataclass(frozen=True)
class Question:
    """One question of the courses.

    Attributes:
        text: the question.
        usual: what is usually answered.
        where: the tables that decide.
        answer: (tables) -> the verdict and the numbers it rests on.
        figures: (study, how the titles of its pictures begin); "" for the five photos.
        plots: names of plots.
    """

    text: str
    usual: str
    where: tuple[str, ...]
    answer: Callable[[Tables], Answer]
    figures: tuple[tuple[str, str], ...] = ()
    plots: tuple[str, ...] = ()


def find(tables: Tables, name: str, **where: object) -> pd.DataFrame:
    """The lines of a table with these values (or one of them, of a tuple).

    Raises:
        Missing: there is none.
    """
    found = tables.get(name, pd.DataFrame())
    for column, value in where.items():
        if len(found):
            found = found[found[column].isin(value if isinstance(value, tuple) else (value,))]
    if found.empty:
        raise Missing(f"the table {name} has no line of {', '.join(f'{k} {v}' for k, v in where.items())}")
    return found


def one(tables: Tables, name: str, column: str, **where: object) -> float:
    """A number of the first such line."""
    return float(find(tables, name, **where)[column].iloc[0])


def told(table: pd.DataFrame, form: str, between: str = "; ") -> str:
    """The lines of a table, each in a form that names its columns."""
    return between.join(form.format(**line) for line in records(table))


def judged(parts: Iterable[Any]) -> str:
    """All true: held; none: did not hold; None where the numbers leave it open."""
    parts = list(parts)
    if all(parts):
        return HELD
    return PART if any(parts) else UNCLEAR if any(part is None for part in parts) else BROKE


def _larger(t: Tables) -> Answer:
    lines = find(t, "between_networks_verdicts", method="saliency")
    said = {{"sharper": HELD, "less sharp": BROKE}.get(verdict, UNCLEAR) for verdict in lines["verdict"]}
    verdict = said.pop() if len(said) == 1 else UNCLEAR
    return verdict, f"{told(lines, '{model} {reason}')}. Sharper is not truer: nothing here knows objects"


def _captum(*methods: str) -> Callable[[Tables], Answer]:
    def answer(t: Tables) -> Answer:
        lines = find(t, "agreement_verdicts", method=methods)
        brief = lines["reason"].str.partition(": ")[0].where(lines["verdict"] != "differs", lines["reason"])
        verdicts = lines.loc[lines["verdict"] != "not applicable", "verdict"]
        parts = verdicts.isin(["equal", "within tolerance"])
        return judged(parts if len(parts) else [None]), told(lines.assign(brief=brief), "{method} on {model}: {brief}")

    return answer


def _layers(t: Tables) -> Answer:
    verdict, captum = _captum(*LAYERS)(t)
    alike = find(t, "comparison", metric="spearman", method=("grad_cam", "layer_conductance"))
    alike = alike[alike["other"].isin(["layer_conductance", "neuron_gradient"]) & (alike["n"] > 0)]
    pairs = told(alike, "{method} with {other} {mean:.2f}", ", ")
    return verdict, f"{captum}. Spearman of |maps| of one photo: {pairs}"


def _saliency_or_cam(t: Tables) -> Answer:
    duel = find(t, "scores_duel", **SQUEEZE)
    place, detail = duel[duel["family"] == "localisation"], duel[duel["measure"].str.startswith("deletion")]
    if place.empty or detail.empty:
        raise Missing("no scores of place and of deletion")
    wins = place["better"].value_counts()
    cam, own, line = wins.get("grad_cam", 0), wins.get("saliency", 0), records(detail)[0]
    finer = {"saliency": True, "grad_cam": False}.get(line["better"])
    says = f"placing an object (composites, n = {place['n'].max()}): Grad-CAM is better in {cam} of {len(place)} "
    says += f"measures, saliency in {own}; deletion, where lower is better: saliency {line['saliency']:.3f}, "
    says += f"Grad-CAM {line['grad_cam']:.3f}, p = {number(line['p'])}, n = {line['n']}"
    return judged([cam > len(place) / 2 if cam + own else None, finer]), says


def _sum(t: Tables) -> Answer:
    ours, bare = (
        find(t, "speed_batching", method=method).iloc[0] for method in ("all methods", "forward_and_gradient")
    )
    x = one(t, "speed", "x", stage="batch", method="all methods")
    says = f"one backward does give all gradients, {ours['gain']:.2f} times as fast as photo by photo (a bare pass "
    says += f"{bare['gain']:.2f}): a factor, at most the batch's {x:.0f}, and nothing exponential"
    return BROKE if ours["gain"] <= x else HELD, says


def _differentiate(t: Tables) -> Answer:
    lines = find(t, "differentiate_verdicts", measure="what to differentiate")
    score = lines["method"] == "score"
    own = [*lines.loc[score, "verdict"], "absent"][0]
    says = f"score: {own}; {told(lines[~score], '{method}: {verdict} ({reason})')}"
    return judged((lines["verdict"] == "own class alone") == score), says


def _fooling(t: Tables) -> Answer:
    lines = find(t, "attacks_targeted", method="fooling")
    form = "{other}: {success:.0%} of {n} photos in {iterations:.0f} steps (median), largest change {levels:.0f}/255, "
    form += "SSIM {ssim:.3f}, {saved_success:.0%} as saved"
    parts = (lines["success"] >= 0.95).all(), (lines["ssim"] >= 0.95).all()
    return judged(parts), told(lines.assign(levels=lines["linf"] * 255), form)


def _change(t: Tables) -> Answer:
    known = {"other": "fooling image", **SQUEEZE}
    of_map = known | {"method": "saliency"}
    lies = find(t, "attacks_maps", metric="energy_in_object", **known).iloc[0]
    on_map = find(t, "attacks_maps", metric="energy_in_source_map", **of_map).iloc[0]
    shows = find(t, "attacks_maps", metric="shows_perturbation", **of_map).iloc[0]
    says = f"{lies['attack']:.0%} of the change's energy lies in the object's boxes, of noise {lies['noise']:.0%}; "
    says += f"{on_map['attack']:.0%} on the tenth of pixels where the label's saliency is largest, of noise "
    says += f"{on_map['noise']:.0%}; the new class's saliency correlates with the change at {shows['attack']:.2f}, "
    says += f"with noise at {shows['noise']:.2f}"
    return judged(line["attack_less_noise_low"] > 0 for line in (lies, on_map, shows)), says


def _stronger(t: Tables) -> Answer:
    success = find(t, "attacks_success", norm="linf", **SQUEEZE)
    wide = success.pivot(index="epsilon_255", columns="method", values="success")
    naive = find(t, "attacks_targeted", method="fooling", **SQUEEZE)["linf"].median() * 255
    if not {"fgsm", "pgd", "control_noise"} <= set(wide):
        raise Missing("FGSM, PGD and noise")
    most = wide["pgd"] >= 0.9
    least = float(wide.index[most].min()) if most.any() else float("inf")
    form = "{epsilon_255:g}/255: FGSM {fgsm:.0%}, PGD {pgd:.0%}, {control_noise:.0%} of draws of noise"
    says = f"fooled at {told(wide[wide.index > 0].reset_index(), form)}. "
    says += f"The naive image, towards a class, changes a pixel by {naive:.0f}/255 at most (median)"
    stronger = (wide["pgd"] >= wide["fgsm"]).all() and (wide["pgd"] > wide["fgsm"]).any()
    return judged([stronger, least < naive]), says


def _training(t: Tables) -> Answer:
    before, after = (find(t, "attacks_robust", model=model, norm="linf") for model in ("digits", "digits adversarial"))
    a, b = (table.iloc[(table["epsilon"] - 0.1).abs().argmin()] for table in (before, after))
    first, then = (
        find(t, "attacks_alignment", model=model, method="saliency").iloc[0]
        for model in ("digits", "digits adversarial")
    )
    says = f"right under attack at epsilon {a['epsilon']:g}: {a['robust_at_most']:.0%} before, "
    says += f"{b['robust_at_most']:.0%} after (n = {a['photos']}), clean {a['clean_accuracy']:.0%} and "
    says += f"{b['clean_accuracy']:.0%}; saliency follows the digit (Spearman) at {first['alignment']:.2f} before, "
    says += f"{then['alignment']:.2f} after"
    robust = b["robust_at_most_low"] > a["robust_at_most_high"]
    return judged([robust, then["alignment_low"] > first["alignment_high"]]), says


def _classes(t: Tables) -> Answer:
    lines = find(t, "visualization_pictures", job="classes", **SQUEEZE, image=("gorilla", "Yorkshire terrier"))
    return judged(lines["confidence"] >= SURE), "; ".join(f"{line['image']}: {_seen(line)}" for line in records(lines))


def _seen(line: dict[str, Any]) -> str:
    there = f", elsewhere {line['elsewhere']:.1%}" if line["elsewhere"] == line["elsewhere"] else ""
    return f"confidence {line['confidence']:.1%}{there}"


def _sweep(t: Tables, job: str) -> pd.DataFrame:
    lines = find(t, "visualization_variants", job=job)
    return lines.assign(x=[float(name.split()[-1]) for name in lines["variant"]]).sort_values("x")


def _rates(t: Tables) -> Answer:
    lines = _sweep(t, "learning rate")
    form = "{x:g}: {confidence:.1%}, total variation {total_variation:.3f}, contrast {contrast:.3f}"
    first, last = lines.iloc[0], lines.iloc[-1]
    little = first["confidence"] <= lines["confidence"].max() - 0.01
    noisy = last["total_variation"] > 1.1 * first["total_variation"]
    return judged([little, noisy]), "confidence by rate " + told(lines, form)


def _iterations(t: Tables) -> Answer:
    lines = find(t, "visualization_iterations", job="iterations").sort_values("iterations")
    gains = lines["score"].diff().dropna()
    parts = (gains > 0).all(), gains.iloc[-1] < gains.iloc[0]
    return judged(parts), told(lines, "{iterations:.0f}: score {score:.1f}, {confidence:.1%}")


def _grey(t: Tables) -> Answer:
    lines = _sweep(t, "lambda")
    greyer = lines["contrast"].iloc[-1] < 0.9 * lines["contrast"].iloc[0]
    return judged([greyer]), "by lambda " + told(lines, "{x:g}: contrast {contrast:.3f}, {confidence:.1%}")


def _from_photo(t: Tables) -> Answer:
    line = records(find(t, "visualization_pictures", job="from a photo"))[0]
    start = str(line["image"]).rpartition("start ")[2]
    stands = "" if "hay" in start else f" ({start} stands in for hay)"
    return judged([line["confidence"] >= SURE]), f"{line['image']}{stands}: {_seen(line)}"


def _second(t: Tables) -> Answer:
    lines = find(t, "visualization_elsewhere", job="classes")
    form = "made for {model}: {confidence_here:.1%} there, {confidence_there:.1%} on {other}"
    there = lines.set_index("model")["confidence_there"]
    ours = there.get("squeezenet1_1", float("nan"))
    rest = there.drop("squeezenet1_1", errors="ignore")
    if rest.empty or ours != ours:
        raise Missing("two networks")
    gain = float(rest.mean() - ours)
    says = f"{told(lines, form)} (means of {lines['n'].max()} classes)"
    return judged([None if abs(gain) < 0.1 else gain > 0]), says


def _mistake(t: Tables) -> Answer:
    found = find(t, "visualization_variants", job="saliency instead of the gradient").set_index("variant")
    right, wrong = (dict(found.loc[name]) for name in ("gradient", "saliency"))
    says = f"the gradient: {_seen(right)}; the saliency in its place: {_seen(wrong)}"
    return judged([right["confidence"] >= SURE and wrong["confidence"] < 0.5]), says


def _regularised(t: Tables) -> Answer:
    found = find(t, "visualization_variants", job="regularisation").set_index("variant")
    lines = [(name, dict(line)) for name, line in found.iterrows()]
    says = "; ".join(f"{name}: high frequencies {line['high_frequency']:.3f}, {_seen(line)}" for name, line in lines)
    both, none = found.loc["both"], found.loc["neither"]
    parts = [none["high_frequency"] > 1.5 * both["high_frequency"]]
    parts += [none["elsewhere"] < both["elsewhere"]] if both["elsewhere"] == both["elsewhere"] else []
    return judged(parts), says


def _painted(course: bool) -> Callable[[Tables], Answer]:
    def answer(t: Tables) -> Answer:
        lines = find(t, "style_transfer", asked=False)
        lines = lines[(lines["photo"] == "tubingen") == course]
        if lines.empty:
            raise Missing("a network that did not paint, to judge these pairs")
        form = "{photo} as {painting}: content {content_distance:.2f}, style {style_distance:.2f}{noted}"
        noted = [f" ({note})" * bool(note) for note in lines["note"]]
        says = f"judged by {lines['judge'].iloc[0]}, 1 is as far as the other picture: "
        parts = (lines["content_distance"] < 1) & (lines["style_distance"] < 1)
        return judged(parts), says + told(lines.assign(noted=noted), form)

    return answer


def _sanity(t: Tables) -> Answer:
    expected = {"saliency": "PASS", "grad_cam": "PASS", "guided_backprop": "FAIL", "guided_grad_cam": "FAIL"}
    lines = find(t, "sanity_verdicts", method=tuple(expected), measure="overall", **SQUEEZE)
    form = "{method} {verdict} (S {s_half:.2f} [{s_half_low:.2f}, {s_half_high:.2f}])"
    pairs = zip(lines["verdict"], lines["method"].map(expected), strict=True)
    parts = [verdict == other if verdict in ("PASS", "FAIL") else None for verdict, other in pairs]
    says, photos, draws = told(lines, form, ", "), lines["photos"], lines["draws"].iloc[0]
    count = f"{photos.min()}" if photos.nunique() == 1 else f"{photos.min()} to {photos.max()}"
    return judged(parts), f"{says}; {count} photos, {draws} random networks"


def _bias(t: Tables) -> Answer:
    lines = find(t, "shortcut_verdicts", control=False)
    form = "{method} {verdict} (detection {detection:.0%}, false alarm {false_alarm:.0%})"
    parts = [{"PASS": True, "FAIL": False}.get(verdict) for verdict in lines["verdict"]]
    return judged(parts), told(lines, form, ", ")


def _cropping(t: Tables) -> Answer:
    lines = find(t, "scores", metric=("box_iou", "mask_iou"), method="saliency", **SQUEEZE)
    says = told(lines, "{measure} {mean:.2f}, {verdict} (n = {n})")
    best = find(t, "scores", metric="box_iou", control=False, **SQUEEZE).sort_values("mean").iloc[-1]
    tone = next(section.tone for section in sections() if section.study == "scores")
    parts = [{"good": True, "bad": False}.get(tone(verdict)) for verdict in lines["verdict"]]
    return judged(parts), f"saliency: {says}; best box: {best['method']} {best['mean']:.2f}"


QUESTIONS: tuple[Question, ...] = (
    Question(
        "Saliency of five photos on SqueezeNet and on a larger network: whose maps are sharper?",
        "The larger network's maps are sharper.",
        ("between_networks_verdicts",), _larger, (("", "Saliency by network"),),
    ),
    Question(
        "The same by Captum: is it the same map?", "The same.", ("agreement_verdicts",), _captum("saliency"),
        (("", "Saliency by hand"),),
    ),
    Question(
        "Guided Backprop, Grad-CAM and Guided Grad-CAM by hand and by Captum: are they the same?",
        "The same.",
        ("agreement_verdicts",), _captum(*GUIDED), (("", "Guided maps"),),
    ),
    Question(
        "Layer conductance, layer Grad-CAM and a neuron's view: are they Captum's?",
        "The same as Captum's, and each shows something else of the layer.",
        ("agreement_verdicts", "comparison"), _layers, (("", "Views of a layer"),),
    ),
    Question(
        "Saliency against Grad-CAM: what is each good for?",
        "Grad-CAM finds the object, saliency shows fine detail.",
        ("scores_duel", "scores_which"), _saliency_or_cam, (("", "Saliency and Grad-CAM"),),
    ),
    Question(
        "Why are the scores of a batch summed before backward?",
        "One backward then gives every photo's gradient, exponentially faster.",
        ("speed_batching",), _sum, plots=("cost-squeezenet1_1-batch",),
    ),
    Question(
        "Score, log-probability, probability or loss: what is to be differentiated?",
        "The unnormalised score alone (B): the others mix in other classes or vanish.",
        ("differentiate_verdicts",), _differentiate, plots=("differentiate-vanishing-squeezenet1_1",),
    ),
    Question(
        "Fooling images: does the network change its mind while the photo looks the same?",
        "It always does, and the change cannot be seen.",
        ("attacks_targeted",), _fooling, (("attacks", "fooling image, aimed"),),
    ),
    Question(
        "Where does the change lie, and does the fooled map show it?",
        "On the object, and the map shows it.",
        ("attacks_maps",), _change, plots=("attacks-maps-squeezenet1_1-fooling_image",),
    ),
    Question(
        "The naive attack against FGSM and PGD: which needs the smaller change?",
        "FGSM and PGD; PGD is the strongest.",
        ("attacks_success", "attacks_targeted"), _stronger,
        (("attacks", "pgd, epsilon"),), ("attacks-curve-squeezenet1_1-linf",),
    ),
    Question(
        "Adversarial training: what does it change?",
        "The network is robust, and its maps follow the object.",
        ("attacks_robust", "attacks_alignment"), _training,
        plots=("attacks-curve-digits-linf", "attacks-curve-digits_adversarial-linf"),
    ),
    Question(
        "A gorilla and a Yorkshire terrier from noise: does the network see them?",
        f"Yes, above {SURE:.0%}.",
        ("visualization_pictures",), _classes, (("visualization", "classes"),),
    ),
    Question(
        "A snail by learning rate: 1, 3, 5, 7, 9",
        "Too low shows little, too high is noisy.",
        ("visualization_variants",), _rates, (("visualization", "learning rate"),),
    ),
    Question(
        "A snail by iterations: 100 to 500",
        "The more the clearer, with less and less gained.",
        ("visualization_iterations",), _iterations, (("visualization", "iterations"),),
    ),
    Question(
        "A snail by lambda: 0.0001 to 1", "A high lambda makes it grey.", ("visualization_variants",), _grey,
        (("visualization", "lambda"),),
    ),
    Question(
        "A snail from a photo of hay: does the network see it?", f"Yes, above {SURE:.0%}.",
        ("visualization_pictures",), _from_photo, (("visualization", "from a photo"),),
    ),
    Question(
        "The classes on a second network: are the larger network's pictures better?",
        "Yes: they show more of the class. Measured by what the other network sees in them.",
        ("visualization_elsewhere",), _second,
    ),
    Question(
        "What if the saliency is taken for the gradient?", "It fails.", ("visualization_variants",), _mistake,
        (("visualization", "saliency instead"),),
    ),
    Question(
        "What does regularisation do?",
        "Without it there is high-frequency noise that only this network takes for the class.",
        ("visualization_variants",), _regularised, (("visualization", "regularisation"),),
    ),
    Question(
        "Tübingen as Composition VII, The Scream and Starry Night: the photo's content in the painting's style?",
        "Yes, all three.",
        ("style_transfer",), _painted(True), (("style_transfer", "tubingen"),),
    ),
    Question(
        "A pair of one's own: a rocket and another picture?", "It works as well.", ("style_transfer",), _painted(False),
        (("style_transfer", "rocket"),),
    ),
    Question(
        "The sanity checks: which maps depend on what the network learned?",
        "Saliency and Grad-CAM do, Guided Backprop and Guided Grad-CAM do not (Adebayo et al. 2018).",
        ("sanity_verdicts",), _sanity, (("sanity", ""),), ("sanity-cascade_top-squeezenet1_1",),
    ),
    Question(
        "Bias: does a map show a shortcut that the network takes?",
        "Yes: that is what maps are for.",
        ("shortcut_verdicts",), _bias, plots=("shortcut-digits",),
    ),
    Question(
        "Cropping: does the saliency map find the object's box and mask?", "Yes.", ("scores",), _cropping,
    ),
)  # fmt: skip


def answers(made: Tables, manifest: dict[str, Any]) -> Tables:
    """The answer to each question, where the run asks them."""
    if not _chosen(manifest):
        return {}
    lines = []
    for place, question in enumerate(QUESTIONS, start=1):
        try:
            verdict, says = question.answer(made)
        except Missing as why:
            verdict, says = NOT_RUN, str(why)
        line = {"model": "all", "measure": str(place), "method": question.text, "usual": question.usual}
        line |= {"verdict": verdict, "reason": says, "where": ", ".join(question.where)}
        lines.append(line)
    return {f"{NAME}_verdicts": pd.DataFrame(lines)}


def _chosen(manifest: dict[str, Any]) -> bool:
    return manifest.get("config", {}).get("studies", {}).get(NAME) is not None


def _five(run_dir: Path, manifest: dict[str, Any]) -> Iterable[Picture]:
    """The first photos' maps, by hand and by Captum: a page a question."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for model, about in manifest.get("models", {}).items():
        for path in sorted((run_dir / "images" / about["folder"]).glob("[0-9]*.npz"))[:5]:
            found.setdefault(path.stem, {})[model] = load(path)
    if not found:
        return
    signed, models = signed_methods(manifest), list(manifest["models"])
    names, both = manifest.get("class_names", {}), {"own": "own", "captum": "Captum"}
    labels = {file["id"]: names.get(str(file["label"]), file["id"]) for file in manifest["data"]["files"]}
    pages = {
        "Saliency by network": [(model, "own", "saliency", model) for model in models],
        "Saliency by hand and by Captum": [(m, s, "saliency", f"{both[s]} {m[:12]}") for m in models for s in both],
        "Saliency and Grad-CAM": [(models[0], "own", m, m) for m in ("saliency", "grad_cam")],
        "Guided maps": [(models[0], s, m, f"{both[s]} {SHORT[m]}") for m in GUIDED for s in both],
        "Views of a layer": [(models[0], s, m, f"{both[s]} {SHORT[m]}") for m in LAYERS for s in both],
    }
    for name, columns in pages.items():
        lines, is_signed = [], {}
        for arrays in found.values():
            photo = next(iter(arrays.values()))
            shown = {"photo": photo["photo"]}
            for model, side, method, words in columns:
                if f"{side}|{method}" in arrays.get(model, {}):
                    shown[f"own|{words}"] = arrays[model][f"{side}|{method}"]
                    is_signed[words] = signed.get(method, False)
            lines.append((labels.get(str(photo["id"]), str(photo["id"])), "", shown))
        path = run_dir / "plots" / f"{NAME}-{slug(name)}.png"
        save_png(photo_grid(lines, is_signed), path)
        yield path, name, f"A row a photo, a column a map: {name}."


def _starts(manifest: dict[str, Any]) -> list[str]:
    """The photos from which pictures begin."""
    jobs = (manifest["config"]["studies"].get("visualization") or {}).get("jobs", ())
    return [picture["start"] for job in jobs for picture in job["pictures"] if picture["start"]]


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """Each question's figures under its number, in the order of the questions."""
    if not _chosen(manifest):
        return []
    needed = {study for question in QUESTIONS for study, _ in question.figures} - {""}
    drawn = {part.study: part.draw(run_dir, manifest) for part in sections() if part.study in needed}
    drawn[""] = list(_five(run_dir, manifest))
    pictures = []
    for place, question in enumerate(QUESTIONS, start=1):
        for study, what in question.figures:
            those = [found for found in drawn[study] if found[1].startswith(what)]
            if study == "attacks":  # of each kind the first photo
                those = list({found[1]: found for found in reversed(those)}.values())[::-1]
            stands = STANDS * (study in ("", "attacks") and manifest["data"]["source"] == "embedded")
            if what == "from a photo":
                stands = "".join(f". {name} stands in for hay" for name in _starts(manifest) if "hay" not in name)
            pictures += [(p, f"{place}. {title}{stands}.", alt) for p, title, alt in those]
    return pictures


SECTION = Section(
    study=NAME,
    title="What the courses ask",
    texts={
        f"{NAME}_verdicts": (
            "Question by question",
            "The usual answer, what this run measured, and whether the usual answer held here: on these photos and "
            "networks, at these settings. Held in part: some of it did. Where: the tables that decide, further down.",
        )
    },
    tables=lambda rows, manifest: {},
    overview=answers,
    beside={str(place): question.plots for place, question in enumerate(QUESTIONS, start=1)},
    page="coursework",
    draw=_draw,
    shown=60,
    good=frozenset({HELD}),
    bad=frozenset({BROKE}),
    headers={
        "measure": "no.",
        "method": "question",
        "usual": "usual answer",
        "reason": "measured answer",
    },
)
