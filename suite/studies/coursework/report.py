"""What two courses ask: each question with its usual answer, the measured one, and whether the usual one held.

The questions stand in questions.tsv; here is how each `id` is answered, from the tables of the other sections. A
question whose numbers are absent says so. Pure but for its pictures; no torch.
"""

import csv
from collections.abc import Iterable
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

with Path(__file__).with_name("questions.tsv").open(encoding="utf-8", newline="") as _lines:
    # id, question, usual answer, the tables that decide, the pictures shown (study, how their titles begin), plots
    QUESTIONS = list(csv.DictReader(_lines, delimiter="\t", quoting=csv.QUOTE_NONE))

Answer = tuple[str, str]  # held, held in part, ..., and the numbers that it rests on


class Missing(Exception):
    """A question whose numbers this run does not have; says which."""


def in_words(table: pd.DataFrame, form: str, between: str = "; ") -> str:
    """The lines of a table, each in a form that names its columns."""
    return between.join(form.format(**line) for line in records(table))


def judged(parts: Iterable[Any]) -> str:
    """All true: held; none: did not hold; None where the numbers leave it open."""
    parts = list(parts)
    if all(parts):
        return HELD
    return PART if any(parts) else UNCLEAR if any(part is None for part in parts) else BROKE


@dataclass(frozen=True)
class Answers:
    """The answers by these tables; a question is answered by the method of its id."""

    tables: Tables

    def find(self, name: str, **where: object) -> pd.DataFrame:
        """The lines of a table with these values (or one of them, of a tuple).

        Raises:
            Missing: there is none.
        """
        lines = self.tables.get(name, pd.DataFrame())
        for column, value in where.items():
            if len(lines):
                lines = lines[lines[column].isin(value if isinstance(value, tuple) else (value,))]
        if lines.empty:
            raise Missing(f"the table {name} has no line of {', '.join(f'{k} {v}' for k, v in where.items())}")
        return lines

    def larger_network(self) -> Answer:
        lines = self.find("between_networks_verdicts", method="saliency")
        verdicts = {{"sharper": HELD, "less sharp": BROKE}.get(verdict, UNCLEAR) for verdict in lines["verdict"]}
        verdict = verdicts.pop() if len(verdicts) == 1 else UNCLEAR
        return verdict, f"{in_words(lines, '{model} {reason}')}. Sharper is not truer: nothing here knows objects"

    def _captum(self, methods: tuple[str, ...]) -> Answer:
        lines = self.find("agreement_verdicts", method=methods)
        brief = lines["reason"].str.partition(": ")[0].where(lines["verdict"] != "differs", lines["reason"])
        verdicts = lines.loc[lines["verdict"] != "not applicable", "verdict"]
        parts = verdicts.isin(["equal", "within tolerance"])
        words = in_words(lines.assign(brief=brief), "{method} on {model}: {brief}")
        return judged(parts if len(parts) else [None]), words

    def captum_saliency(self) -> Answer:
        return self._captum(("saliency",))

    def captum_guided(self) -> Answer:
        return self._captum(GUIDED)

    def captum_layers(self) -> Answer:
        verdict, captum = self._captum(LAYERS)
        pairs = self.find("comparison", metric="spearman", method=("grad_cam", "layer_conductance"))
        pairs = pairs[pairs["other_method"].isin(["layer_conductance", "neuron_gradient"]) & (pairs["n"] > 0)]
        words = in_words(pairs, "{method} with {other_method} {mean:.2f}", ", ")
        return verdict, f"{captum}. Spearman of |maps| of one photo: {words}"

    def saliency_or_cam(self) -> Answer:
        duel = self.find("scores_duel", **SQUEEZE)
        location, detail = duel[duel["family"] == "localisation"], duel[duel["measure"].str.startswith("deletion")]
        if location.empty or detail.empty:
            raise Missing("no scores of place and of deletion")
        wins = location["better"].value_counts()
        cam, saliency, line = wins.get("grad_cam", 0), wins.get("saliency", 0), records(detail)[0]
        finer = {"saliency": True, "grad_cam": False}.get(line["better"])
        words = f"placing an object (composites, n = {location['n'].max()}): Grad-CAM is better in {cam} of "
        words += f"{len(location)} measures, saliency in {saliency}; deletion, where lower is better: saliency "
        words += f"{line['saliency']:.3f}, Grad-CAM {line['grad_cam']:.3f}, p = {number(line['p'])}, n = {line['n']}"
        return judged([cam > len(location) / 2 if cam + saliency else None, finer]), words

    def summed_scores(self) -> Answer:
        gain = self.find("speed_batching", method="all methods")["gain"].iloc[0]
        bare = self.find("speed_batching", method="forward_and_gradient")["gain"].iloc[0]
        size = float(self.find("speed", job="batch", method="all methods")["photos"].iloc[0])
        words = f"one backward does give all gradients, {gain:.2f} times as fast as photo by photo (a bare pass "
        words += f"{bare:.2f}): a factor, at most the batch's {size:.0f}, and nothing exponential"
        return BROKE if gain <= size else HELD, words

    def differentiate(self) -> Answer:
        lines = self.find("differentiate_verdicts", measure="what to differentiate")
        score = lines["method"] == "score"
        own = [*lines.loc[score, "verdict"], "absent"][0]
        words = f"score: {own}; {in_words(lines[~score], '{method}: {verdict} ({reason})')}"
        return judged((lines["verdict"] == "own class alone") == score), words

    def fooling_images(self) -> Answer:
        lines = self.find("attacks_targeted", method="fooling")
        form = "{goal}: {success:.0%} of {n} photos in {iterations:.0f} steps (median), largest change "
        form += "{levels:.0f}/255, SSIM {ssim:.3f}, {saved_success:.0%} as saved"
        parts = (lines["success"] >= 0.95).all(), (lines["ssim"] >= 0.95).all()
        return judged(parts), in_words(lines.assign(levels=lines["linf"] * 255), form)

    def perturbation(self) -> Answer:
        where = {"attack": "fooling image", **SQUEEZE}
        lines = [self.find("attacks_maps", metric="energy_in_object", **where).iloc[0]]
        for metric in ("energy_in_source_map", "shows_perturbation"):
            lines.append(self.find("attacks_maps", metric=metric, method="saliency", **where).iloc[0])
        words = (
            "{0[attacked]:.0%} of the change's energy lies in the object's boxes, of noise {0[noise]:.0%}; "
            "{1[attacked]:.0%} on the tenth of pixels where the label's saliency is largest, of noise {1[noise]:.0%}; "
            "the new class's saliency correlates with the change at {2[attacked]:.2f}, with noise at {2[noise]:.2f}"
        )
        return judged(line["attacked_less_noise_low"] > 0 for line in lines), words.format(*lines)

    def naive_attack(self) -> Answer:
        success = self.find("attacks_success", norm="linf", **SQUEEZE)
        rates = success.pivot(index="epsilon_255", columns="method", values="success")
        naive = self.find("attacks_targeted", method="fooling", **SQUEEZE)["linf"].median() * 255
        if not {"fgsm", "pgd", "control_noise"} <= set(rates):
            raise Missing("FGSM, PGD and noise")
        least = float(rates.index[rates["pgd"] >= 0.9].min())  # NaN where there is none: no number is larger
        form = "{epsilon_255:g}/255: FGSM {fgsm:.0%}, PGD {pgd:.0%}, {control_noise:.0%} of draws of noise"
        words = f"fooled at {in_words(rates[rates.index > 0].reset_index(), form)}. "
        words += f"The naive image, towards a class, changes a pixel by {naive:.0f}/255 at most (median)"
        stronger = (rates["pgd"] >= rates["fgsm"]).all() and (rates["pgd"] > rates["fgsm"]).any()
        return judged([stronger, least < naive]), words

    def adversarial_training(self) -> Answer:
        networks = ("digits", "digits adversarial")
        tables = [self.find("attacks_robust", model=model, norm="linf") for model in networks]
        maps = [self.find("attacks_alignment", model=model, method="saliency").iloc[0] for model in networks]
        rates = [table.iloc[(table["epsilon"] - 0.1).abs().argmin()] for table in tables]
        words = (
            "right under attack at epsilon {0[epsilon]:g}: {0[robust_at_most]:.0%} before, {1[robust_at_most]:.0%} "
            "after (n = {0[photos]}), clean {0[clean_accuracy]:.0%} and {1[clean_accuracy]:.0%}; saliency follows the "
            "digit (Spearman) at {2[alignment]:.2f} before, {3[alignment]:.2f} after"
        )
        robust = rates[1]["robust_at_most_low"] > rates[0]["robust_at_most_high"]
        aligned = maps[1]["alignment_low"] > maps[0]["alignment_high"]
        return judged([robust, aligned]), words.format(*rates, *maps)

    def classes(self) -> Answer:
        lines = self.find("visualization_pictures", job="classes", **SQUEEZE, image=("gorilla", "Yorkshire terrier"))
        words = [f"{line['image']}: {_seen(line)}" for line in records(lines)]
        return judged(lines["confidence"] >= SURE), "; ".join(words)

    def _sweep(self, job: str) -> pd.DataFrame:
        lines = self.find("visualization_variants", job=job)
        return lines.assign(x=[float(name.split()[-1]) for name in lines["variant"]]).sort_values("x")

    def learning_rate(self) -> Answer:
        lines = self._sweep("learning rate")
        form = "{x:g}: {confidence:.1%}, total variation {total_variation:.3f}, contrast {contrast:.3f}"
        first, last = lines.iloc[0], lines.iloc[-1]
        little = first["confidence"] <= lines["confidence"].max() - 0.01
        noisy = last["total_variation"] > 1.1 * first["total_variation"]
        return judged([little, noisy]), "confidence by rate " + in_words(lines, form)

    def iterations(self) -> Answer:
        lines = self.find("visualization_iterations", job="iterations").sort_values("iterations")
        gains = lines["score"].diff().dropna()
        parts = (gains > 0).all(), gains.iloc[-1] < gains.iloc[0]
        return judged(parts), in_words(lines, "{iterations:.0f}: score {score:.1f}, {confidence:.1%}")

    def weight_decay(self) -> Answer:
        lines = self._sweep("lambda")
        greyer = lines["contrast"].iloc[-1] < 0.9 * lines["contrast"].iloc[0]
        return judged([greyer]), "by lambda " + in_words(lines, "{x:g}: contrast {contrast:.3f}, {confidence:.1%}")

    def from_photo(self) -> Answer:
        line = records(self.find("visualization_pictures", job="from a photo"))[0]
        start = str(line["image"]).rpartition("start ")[2]
        stands = "" if "hay" in start else f" ({start} stands in for hay)"
        return judged([line["confidence"] >= SURE]), f"{line['image']}{stands}: {_seen(line)}"

    def second_network(self) -> Answer:
        lines = self.find("visualization_elsewhere", job="classes")
        form = "made for {model}: {confidence_here:.1%} there, {confidence_there:.1%} on {other_model}"
        squeeze, elsewhere = lines["model"] == SQUEEZE["model"], lines["confidence_there"]
        gain = elsewhere[~squeeze].mean() - elsewhere[squeeze].head(1).mean()
        if gain != gain:
            raise Missing("two networks")
        words = f"{in_words(lines, form)} (means of {lines['n'].max()} classes)"
        return judged([None if abs(gain) < 0.1 else gain > 0]), words

    def saliency_ascent(self) -> Answer:
        lines = self.find("visualization_variants", job="saliency instead of the gradient").set_index("variant")
        right, wrong = (dict(lines.loc[name]) for name in ("gradient", "saliency"))
        words = f"the gradient: {_seen(right)}; the saliency in its place: {_seen(wrong)}"
        return judged([right["confidence"] >= SURE and wrong["confidence"] < 0.5]), words

    def regularisation(self) -> Answer:
        lines = self.find("visualization_variants", job="regularisation")
        form = "{variant}: high frequencies {high_frequency:.3f}, {seen}"
        words = in_words(lines.assign(seen=[_seen(line) for line in records(lines)]), form)
        with_both, with_none = (lines.set_index("variant").loc[name] for name in ("both", "neither"))
        parts = [with_none["high_frequency"] > 1.5 * with_both["high_frequency"]]
        if pd.notna(with_both["elsewhere"]):
            parts.append(with_none["elsewhere"] < with_both["elsewhere"])
        return judged(parts), words

    def _painted(self, course: bool) -> Answer:
        lines = self.find("style_transfer", painted_on_it=False)
        lines = lines[(lines["photo"] == "tubingen") == course]
        if lines.empty:
            raise Missing("a network that did not paint, to judge these pairs")
        form = "{photo} as {painting}: content {content_distance:.2f}, style {style_distance:.2f}{noted}"
        noted = [f" ({note})" * bool(note) for note in lines["note"]]
        words = f"judged by {lines['judge'].iloc[0]}, 1 is as far as the other picture: "
        parts = (lines["content_distance"] < 1) & (lines["style_distance"] < 1)
        return judged(parts), words + in_words(lines.assign(noted=noted), form)

    def painted_course(self) -> Answer:
        return self._painted(True)

    def painted_own(self) -> Answer:
        return self._painted(False)

    def sanity(self) -> Answer:
        expected = {"saliency": "PASS", "grad_cam": "PASS", "guided_backprop": "FAIL", "guided_grad_cam": "FAIL"}
        lines = self.find("sanity_verdicts", method=tuple(expected), measure="overall", **SQUEEZE)
        form = "{method} {verdict} (S {s_half:.2f} [{s_half_low:.2f}, {s_half_high:.2f}])"
        pairs = zip(lines["verdict"], lines["method"].map(expected), strict=True)
        parts = [verdict == other if verdict in ("PASS", "FAIL") else None for verdict, other in pairs]
        photos = " to ".join(map(str, sorted({lines["photos"].min(), lines["photos"].max()})))
        words = f"{in_words(lines, form, ', ')}; {photos} photos, {lines['draws'].iloc[0]} random networks"
        return judged(parts), words

    def bias(self) -> Answer:
        lines = self.find("shortcut_verdicts", control=False)
        form = "{method} {verdict} (detection {detection:.0%}, false alarm {false_alarm:.0%})"
        parts = [{"PASS": True, "FAIL": False}.get(verdict) for verdict in lines["verdict"]]
        return judged(parts), in_words(lines, form, ", ")

    def cropping(self) -> Answer:
        lines = self.find("scores", metric=("box_iou", "mask_iou"), method="saliency", **SQUEEZE)
        words = in_words(lines, "{measure} {mean:.2f}, {verdict} (n = {n})")
        best = self.find("scores", metric="box_iou", control=False, **SQUEEZE).sort_values("mean").iloc[-1]
        tone = next(section.tone for section in sections() if section.study == "scores")
        parts = [{"good": True, "bad": False}.get(tone(verdict)) for verdict in lines["verdict"]]
        return judged(parts), f"saliency: {words}; best box: {best['method']} {best['mean']:.2f}"


def _seen(line: dict[str, Any]) -> str:
    elsewhere = f", elsewhere {line['elsewhere']:.1%}" if line["elsewhere"] == line["elsewhere"] else ""
    return f"confidence {line['confidence']:.1%}{elsewhere}"


def answer_all(tables: Tables, manifest: dict[str, Any]) -> Tables:
    """The answer to each question, where the run asks them."""
    if not _chosen(manifest):
        return {}
    lines = []
    for k, question in enumerate(QUESTIONS, start=1):
        try:
            verdict, reason = getattr(Answers(tables), question["id"])()
        except Missing as why:
            verdict, reason = NOT_RUN, str(why)
        line = {"model": "all", "measure": str(k), "method": question["question"], "usual": question["usual"]}
        lines.append(line | {"verdict": verdict, "reason": reason, "where": question["tables"].replace(" ", ", ")})
    return {f"{NAME}_verdicts": pd.DataFrame(lines)}


def _chosen(manifest: dict[str, Any]) -> bool:
    return manifest.get("config", {}).get("studies", {}).get(NAME) is not None


def _five(run_dir: Path, manifest: dict[str, Any]) -> Iterable[Picture]:
    """The first photos' maps, by hand and by Captum: a page a question."""
    photos: dict[str, dict[str, dict[str, Any]]] = {}
    for model, info in manifest.get("models", {}).items():
        for path in sorted((run_dir / "images" / info["folder"]).glob("[0-9]*.npz"))[:5]:
            photos.setdefault(path.stem, {})[model] = load(path)
    if not photos:
        return
    signed, models = signed_methods(manifest), list(manifest["models"])
    names, sides = manifest.get("class_names", {}), {"own": "own", "captum": "Captum"}
    labels = {file["id"]: names.get(str(file["label"]), file["id"]) for file in manifest["data"]["files"]}
    pages = {
        "Saliency by network": [(model, "own", "saliency", model) for model in models],
        "Saliency by hand and by Captum": [(m, s, "saliency", f"{sides[s]} {m[:12]}") for m in models for s in sides],
        "Saliency and Grad-CAM": [(models[0], "own", m, m) for m in ("saliency", "grad_cam")],
        "Guided maps": [(models[0], s, m, f"{sides[s]} {SHORT[m]}") for m in GUIDED for s in sides],
        "Views of a layer": [(models[0], s, m, f"{sides[s]} {SHORT[m]}") for m in LAYERS for s in sides],
    }
    for name, columns in pages.items():
        lines, is_signed = [], {}
        for arrays in photos.values():
            photo = next(iter(arrays.values()))
            row = {"photo": photo["photo"]}
            for model, side, method, words in columns:
                if f"{side}|{method}" in arrays.get(model, {}):
                    row[f"own|{words}"] = arrays[model][f"{side}|{method}"]
                    is_signed[words] = signed.get(method, False)
            lines.append((labels.get(str(photo["id"]), str(photo["id"])), "", row))
        path = run_dir / "plots" / f"{NAME}-{slug(name)}.png"
        save_png(photo_grid(lines, is_signed), path)
        yield path, name, f"A row a photo, a column a map: {name}."


def _draw(run_dir: Path, manifest: dict[str, Any]) -> list[Picture]:
    """Each question's figures under its number, in the order of the questions."""
    if not _chosen(manifest):
        return []
    needed = {question["study"] for question in QUESTIONS}
    by_study = {part.study: part.draw(run_dir, manifest) for part in sections() if part.study in needed}
    by_study["five photos"] = list(_five(run_dir, manifest))
    jobs = (manifest["config"]["studies"].get("visualization") or {}).get("jobs", ())
    starts = [picture["start"] for job in jobs for picture in job["pictures"] if picture["start"]]
    pictures = []
    for k, question in enumerate(QUESTIONS, start=1):
        study, beginning = question["study"], question["pictures"]
        chosen = [picture for picture in by_study.get(study, []) if picture[1].startswith(beginning)]
        if study == "attacks":  # of each kind the first photo
            chosen = list({picture[1]: picture for picture in reversed(chosen)}.values())[::-1]
        stands = STANDS * (study in ("five photos", "attacks") and manifest["data"]["source"] == "embedded")
        if question["id"] == "from_photo":
            stands = "".join(f". {name} stands in for hay" for name in starts if "hay" not in name)
        pictures += [(path, f"{k}. {title}{stands}.", alt) for path, title, alt in chosen]
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
    overview=answer_all,
    beside={str(k): tuple(question["plots"].split()) for k, question in enumerate(QUESTIONS, start=1)},
    page="coursework",
    draw=_draw,
    shown=60,
    good=frozenset({HELD}),
    bad=frozenset({BROKE}),
    headers={"measure": "no.", "method": "question", "usual": "usual answer", "reason": "measured answer"},
)
