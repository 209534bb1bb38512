"""Makes a run directory out of thin air, with hostile names, to test the report on. No torch, no network."""

from pathlib import Path
from typing import Any

import numpy as np

from suite.registry import study_part
from suite.results import write_manifest, write_shard

METHODS = ("saliency", "guided_backprop", "grad_cam", "guided_grad_cam")
EVIL = "<script>alert('x')</script>"
CLASSES = {
    0: "snail",
    1: f'{EVIL} & "quoted"',
    2: "Käfer 甲虫 $x_1$ | 100%",
    3: "sulphur-crested cockatoo, Kakatoe galerita",
}
SIGNED = {"guided_backprop", "guided_grad_cam"}


def photo_names(photos: int) -> list[str]:
    evil = ['<img src=x onerror=alert(1)> & "a".jpg', "größe_50%_$x$|y 甲.jpg"]
    return (evil + [f"photo_{i:02d}.jpg" for i in range(2, photos)])[:photos]


def make_run(
    run_dir: Path,
    *,
    photos: int = 6,
    models: tuple[str, ...] = ("squeezenet1_1",),
    methods: tuple[str, ...] = METHODS,
    studies: tuple[str, ...] = ("predictions", "agreement", "speed", "comparison", "sharpness"),
    status: str = "done",
) -> Path:
    """grad_cam is within tolerance, guided_grad_cam differs on one photo, the rest is bit-equal; one photo failed."""
    rng = np.random.default_rng(0)
    names = photo_names(photos)
    for model in models:
        makers = {
            "predictions": lambda model=model: _predictions(model, names, rng),
            "agreement": lambda model=model: _agreement(model, names[1:], methods, rng),
            "speed": lambda model=model: _speed(model, methods, rng),
            "comparison": lambda model=model: _comparison(model, names[1:], methods, rng),
            "sharpness": lambda model=model: _sharpness(model, names[1:], methods, rng),
        }
        for study in studies:
            write_shard(
                run_dir / "rows" / study / f"{models.index(model)}.parquet",
                makers[study](),
                keys=study_part(study, "study:STUDY").keys,
            )
        for i, name in enumerate(names[1:]):
            _arrays(run_dir / "images" / f"{models.index(model):02d}" / f"{i:06d}.npz", name, methods, rng)
    write_shard(
        run_dir / "rows" / "predictions" / "network.parquet",
        [
            {
                "study": "predictions",
                "model": "vgg16",
                "metric": "network",
                "status": "skipped",
                "message": "vgg16-397923af.pth is not there; put it into checkpoints/ or drop the network",
            }
        ],
    )
    write_manifest(run_dir, manifest(run_dir.name, names, models, methods, status))
    return run_dir


def manifest(
    name: str, names: list[str], models: tuple[str, ...], methods: tuple[str, ...], status: str
) -> dict[str, Any]:
    config = {"name": name, "models": list(models), "methods": list(methods), "note": f"{EVIL} </pre>", "seed": 0}
    files = [{"id": n, "label": i % len(CLASSES), "sha256": "0" * 64} for i, n in enumerate(names)]
    return {
        "id": "0" * 12,
        "name": name,
        "status": status,
        "config": config,
        "config_digest": "a1b2c3d4e5f6",
        "seed": 0,
        "started": "2026-01-02T10:00:00+00:00",
        "finished": "2026-01-02T10:03:20+00:00" if status == "done" else None,
        "versions": {"torch": "2.13.0", "captum": "0.9.0"},
        "hardware": {"cpu": "2 cores", "memory_gib": 8},
        "commit": "0123456",
        "data": {"source": "embedded", "n": len(names), "total": 50, "digest": "d" * 16, "files": files},
        "models": {
            m: {
                "folder": f"{i:02d}",
                "digest": "f286bbf4",
                "provider": "embedded",
                "classes": 1000,
                "default_layer": "features.12",
            }
            for i, m in enumerate(models)
        },
        "methods": {
            m: {
                "name": m,
                "parameters": {"layer": "features.12"} if "cam" in m else {},
                "caption": f"{m.title().replace('_', '')}()",
                "signed": m in SIGNED,
                "control": m.startswith("control"),
            }
            for m in methods
        },
        "class_names": {str(i): name for i, name in CLASSES.items()},
        "threads": 2,
        "items": {"total": 10, "done": 10 if status == "done" else 4},
    }


def _predictions(model: str, names: list[str], rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        base = {"study": "predictions", "model": model, "image": name, "target": i % len(CLASSES)}
        if i == 0:
            rows.append(
                base | {"metric": "correct", "status": "failed", "message": f"{name} cannot be read: truncated"}
            )
            continue
        right = i % 3 != 0
        top = i % len(CLASSES) if right else (i + 1) % len(CLASSES)
        note = "converted from CMYK" if i == 2 else ""
        rows.append(base | {"metric": "top1", "value": top, "unit": "class", "message": note})
        rows.append(base | {"metric": "confidence", "value": rng.uniform(0.2, 1), "unit": "probability"})
        rows.append(base | {"metric": "correct", "value": right})
        rows.append(base | {"metric": "correct_top5", "value": 1})
    return rows


def _agreement(
    model: str, names: list[str], methods: tuple[str, ...], rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for method in methods:
        layer = "features.12" if "cam" in method else ""
        base = {"study": "agreement", "model": model, "method": method, "implementation": "captum", "layer": layer}
        if method == "deconvolution":
            why = "the network has no rectifier"
            rows += [
                base | {"image": n, "metric": "bit_equal", "status": "not_applicable", "message": why} for n in names
            ]
            continue
        for i, name in enumerate(names):
            near, far = method == "grad_cam", method == "guided_grad_cam" and i == 0
            size = 2e-7 * rng.uniform() if near else 0.013 if far else 0.0
            why = "another order of summation" if near else "Captum hooks no functional rectifier" if far else ""
            image = base | {"image": name, "target": i}
            rows.append(
                image | {"metric": "within_tolerance" if near else "bit_equal", "value": not far, "message": why}
            )
            rows.append(image | {"metric": "max_abs_difference", "value": size})
            rows.append(image | {"metric": "relative_l2", "value": size * 2})
            rows.append(image | {"metric": "spearman", "value": 1 - size})
    return rows


def _speed(model: str, methods: tuple[str, ...], rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cost = {m: (1 + 0.1 * i, 1.1 + 0.3 * i) for i, m in enumerate(methods)}
    cost["all methods"] = (1.47, sum(captum for _, captum in cost.values()))
    for job, unit in (("batch", 0.1), ("one_by_one", 0.16)):
        for turn in range(10):
            base = {"study": "speed", "model": model, "job": job, "photos": 10, "round": turn}
            slow = unit * rng.uniform(0.95, 1.2)
            timed = [("forward", "bare", 0.6), ("forward_and_gradient", "bare", 1.0)]
            timed += [(m, side, c) for m, pair in cost.items() for side, c in zip(("own", "captum"), pair, strict=True)]
            for method, side, passes in timed:
                passes *= 1.0 if side == "bare" else rng.uniform(0.98, 1.05)
                one = base | {"method": method, "implementation": side}
                rows.append(one | {"metric": "seconds", "value": slow * passes, "unit": "s"})
                rows.append(one | {"metric": "passes", "value": passes, "unit": "passes"})
        for method in cost:
            for side, mib in (("own", 210.0), ("captum", 305.5)):
                one = {
                    "study": "speed",
                    "model": model,
                    "job": job,
                    "photos": 10,
                    "method": method,
                    "implementation": side,
                }
                rows.append(one | {"metric": "peak_memory", "value": mib, "unit": "MiB"})
    return rows


def _comparison(
    model: str, names: list[str], methods: tuple[str, ...], rng: np.random.Generator
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    place = {m: rng.normal(size=2) for m in methods}
    for metric in ("spearman", "ssim", "top10_overlap"):
        for i, a in enumerate(methods):
            for b in methods[i:]:
                like = float(np.exp(-np.linalg.norm(place[a] - place[b]) / 1.5))
                for k, name in enumerate(names):
                    one = {
                        "study": "comparison",
                        "model": model,
                        "method": a,
                        "other_method": b,
                        "metric": metric,
                        "image": name,
                        "target": k,
                    }
                    if a != b:
                        rows.append(one | {"pairing": "same_photo", "value": like + rng.normal(0, 0.05)})
                    rows.append(one | {"pairing": "unrelated_photos", "value": 0.1 + rng.normal(0, 0.05)})
    return rows


def _sharpness(
    model: str, names: list[str], methods: tuple[str, ...], rng: np.random.Generator
) -> list[dict[str, Any]]:
    metrics = {"entropy": 9.0, "gini": 0.6, "total_variation": 0.2, "largest_component_mass": 0.4}
    return [
        {
            "study": "sharpness",
            "model": model,
            "method": m,
            "image": n,
            "metric": metric,
            "value": level * rng.uniform(0.8, 1.2),
        }
        for metric, level in metrics.items()
        for m in methods
        for n in names
    ]


def _arrays(path: Path, name: str, methods: tuple[str, ...], rng: np.random.Generator) -> None:
    side = 224
    y, x = np.mgrid[0:side, 0:side] / side
    cx, cy = rng.uniform(0.3, 0.7, 2)
    blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.03)
    photo = np.stack([0.3 + 0.6 * blob, 0.5 + 0.3 * np.sin(9 * x + cx), 0.8 - 0.5 * y], axis=-1)
    photo = np.clip(photo + rng.normal(0, 0.03, photo.shape), 0, 1)
    arrays: dict[str, Any] = {"photo": (photo * 255).astype(np.uint8), "id": np.array(name)}
    for method in methods:
        noise = rng.normal(size=(side, side)).astype(np.float32)
        if method == "grad_cam":
            own = blob[8::17, 8::17][:13, :13].astype(np.float32)
        else:
            own = (noise * blob * 0.02).astype(np.float32)
            own = own if method in SIGNED else np.abs(own)
        captum = own + (np.float32(0.004) * noise if method == "guided_grad_cam" else 0)
        arrays[f"own|{method}"] = own
        if not method.startswith("control"):
            arrays[f"captum|{method}"] = captum
            arrays[f"difference|{method}"] = np.abs(own - captum)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
