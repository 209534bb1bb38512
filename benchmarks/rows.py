"""Rows of many images without their images: how long reading and tables take, and what memory they hold at most.

    python benchmarks/rows.py --images 500 5000 50000

A run of every study is made on four digits; its rows are given to as many images as asked, chunk by chunk as a run
writes them, compacted, read and made into tables, each size in a process of its own. `--run` measures real runs of
three studies on a tiny network instead, `--blocks` makes a table of a million numbers and writes it. `--scale` makes up
the rows of a large run of scores (17 methods, 20 metrics, 3 networks: 51 million rows of 50,000 photos), compacts them,
and measures tables and verdicts in a process that does nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

CHUNK = 10
NETWORKS = ("resnet50", "vgg16", "squeezenet1_1")
METHODS = (
    "saliency", "input_x_gradient", "guided_backprop", "grad_cam", "guided_grad_cam", "smoothgrad",
    "integrated_gradients", "gradient_shap", "deconvolution", "layer_conductance", "occlusion",
)  # fmt: skip
CONTROLS = (
    "control_noise", "control_edges", "control_center", "control_center_edges", "control_constant",
    "control_absolute_noise",
)  # fmt: skip
MEASURES, PHOTOS = 20, 100  # forms of metrics; photos a shard


def simulate(seed: Path, run_dir: Path, images: int) -> None:
    """The seed's rows, image by image under new names, in shards of ten images."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    run = {"run": "simulated"}
    for folder in sorted((seed / "rows").iterdir()):
        rows = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
        column = rows.schema.get_field_index("image")
        names = sorted(set(rows["image"].to_pylist()) - {""})
        of = {name: rows.filter(pc.equal(rows["image"], name)) for name in ["", *names]}
        (run_dir / "rows" / folder.name).mkdir(parents=True)
        for chunk in range(0, images, CHUNK):
            parts = [of[""]] if chunk == 0 else []
            for number in range(chunk, min(chunk + CHUNK, images)):
                image_rows = of[names[number % len(names)]] if names else rows[:0]
                parts.append(
                    image_rows.set_column(
                        column, rows.schema.field("image"), pa.array([f"{number:06d}"] * len(image_rows), pa.string())
                    )
                )
            path = run_dir / "rows" / folder.name / f"00-{chunk // CHUNK:06d}.parquet"
            pq.write_table(pa.concat_tables(parts).replace_schema_metadata(run), path, compression="zstd")


def make_up(run_dir: Path, images: int) -> None:
    """Rows of predictions and scores with the names of real ones: a tenth of the photos wrong, two in a hundred NaN."""
    import numpy as np

    from suite.metrics.cards import cards
    from suite.results import Block, as_table, write_manifest, write_shard
    from suite.studies.predictions.study import STUDY as predictions
    from suite.studies.scores.study import STUDY as scores

    forms = {"outputs": ("probability", "raw"), "scene": ("composites", "boxes")}
    measures = [(name, v) for name, card in cards().items() for v in forms.get(card.takes, ("",))][:MEASURES]
    for network, model in enumerate(NETWORKS):
        generator = np.random.default_rng(network)
        for first in range(0, images, PHOTOS):
            n = min(PHOTOS, images - first)
            names, targets = [f"n{i % 1000:08d}/photo_{i:06d}.JPEG" for i in range(first, first + n)], [*range(n)]
            shared = {"model": model, "chunk": first // PHOTOS, "part": 0}
            blocks = []
            for k, method in enumerate(METHODS + CONTROLS):
                for metric, variant in measures:
                    values = generator.normal(0.5 + 0.01 * k, 0.1, n)
                    values[generator.random(n) < 0.02] = np.nan
                    fields = shared | {"study": "scores", "method": method, "metric": metric, "variant": variant}
                    fields |= {"baseline": "mean" if variant == "probability" else "", "control": method in CONTROLS}
                    blocks.append(Block(names, targets, values, cards()[metric].undefined, fields))
            tested = {"study": "scores", "model": model, "role": "self-test", "control": True, "chunk": 0}
            for metric, variant in measures if first == 0 else ():
                ends = zip(("truth", "noise", "weak", "strong"), (1.0, 0.0, 0.99, 0.1), strict=True)
                fields = tested | {"metric": metric, "variant": variant, "image": "linear"}
                blocks += [fields | {"method": name, "value": cards()[metric].sign * value} for name, value in ends]
            shard = f"{network:02d}-{first // PHOTOS:06d}.parquet"
            table = as_table(blocks, scores.keys)
            write_shard(run_dir / "rows" / "scores" / shard, table, "simulated")
            right = generator.random(n) < 0.9
            seen = {
                "top1": targets + ~right,
                "confidence": generator.random(n),
                "correct": right,
                "correct_top5": right,
            }
            fields = shared | {"study": "predictions"}
            blocks = [Block(names, targets, v.astype(float), fields=fields | {"metric": m}) for m, v in seen.items()]
            write_shard(run_dir / "rows" / "predictions" / shard, as_table(blocks, predictions.keys), "simulated")
    methods = {name: {"name": name, "control": name in CONTROLS} for name in METHODS + CONTROLS}
    write_manifest(
        run_dir, {"config": {}, "status": "done", "models": {name: {} for name in NETWORKS}, "methods": methods}
    )


def measure_scale(run_dir: Path) -> dict[str, float]:
    """Seconds to read all and to make tables and verdicts, and MiB at most, in a process that did nothing before."""
    from suite.report.tables import build_tables
    from suite.results import read_manifest, scan

    start = time.perf_counter()
    rows = sum(map(len, scan(run_dir)))
    middle = time.perf_counter()
    tables = build_tables(run_dir, read_manifest(run_dir))
    seconds = {"scan_s": round(middle - start, 1), "tables_s": round(time.perf_counter() - middle, 1)}
    return {"rows": rows, "verdicts": len(tables["scores_verdicts"])} | seconds | {"MiB": peak()}


def scale(run_dir: Path, images: int) -> None:
    """Makes rows up and compacts them."""
    from suite.results.store import compact

    start = time.perf_counter()
    make_up(run_dir, images)
    middle = time.perf_counter()
    for folder in (run_dir / "rows").iterdir():
        compact(folder, {path.name for path in folder.glob("*.parquet")})
    print(f"made up in {middle - start:.0f} s, compacted in {time.perf_counter() - middle:.0f} s", file=sys.stderr)


def measure(run_dir: Path) -> dict[str, float]:
    """Seconds to compact, to see what is done, to read all study by study, and to make the tables; MiB at most."""
    from suite.report.tables import build_tables
    from suite.results import read, read_manifest, scan
    from suite.results.store import compact, done

    def seconds(work: object) -> float:
        start = time.perf_counter()
        work()  # type: ignore[operator]
        return round(time.perf_counter() - start, 2)

    folders = [path for path in (run_dir / "rows").iterdir() if path.is_dir()]
    shards = {folder: [path.name for path in folder.glob("*.parquet")] for folder in folders}
    return {
        "shards": sum(map(len, shards.values())),
        "compact_s": seconds(lambda: [compact(folder, set(names)) for folder, names in shards.items()]),
        "done_s": seconds(lambda: done(run_dir, "simulated")),
        "rows": sum(map(len, scan(run_dir, columns=["study"]))),
        "scan_MiB": peak(),
        "read_s": seconds(lambda: [read(run_dir, [folder.name]) for folder in folders]),
        "tables_s": seconds(lambda: build_tables(run_dir, read_manifest(run_dir))),
        "MiB": peak(),
    }


def peak() -> int:
    """MiB that this process held at most."""
    status = Path("/proc/self/status").read_text()  # `getrusage` counts the parent's memory too
    return int(status.split("VmHWM:")[1].split()[0]) // 2**10


def run(folder: Path, images: int) -> dict[str, float]:
    """A real run's peak memory."""
    import tiny

    from suite.config import load
    from suite.run.runner import execute, prepare

    path = tiny.config(folder, count=images, pictures=10, data={"source": str(folder / "photos"), "batch_size": 10})
    start = time.perf_counter()
    execute(prepare(load(path)), folder / "run")
    return {"run_s": round(time.perf_counter() - start, 1), "MiB": peak()}


def blocks(images: int, total: int = 1_000_000) -> dict[str, float]:
    """CPU seconds to check a million numbers in blocks of so many photos, and to write them; MiB at most."""
    import numpy as np

    from suite.results.columns import Block, as_table
    from suite.results.store import write_shard

    names, targets = [f"photo {i}" for i in range(images)], list(range(images))
    values = np.random.default_rng(0).random(images)
    keys = {"stage": str, "draw": int, "cell": int, "x": float}
    fields = {"study": "sanity", "model": "m", "metric": "spearman_abs", "stage": "cascade_top", "draw": 1, "cell": 4}
    rows = [
        Block(names, targets, values, "why", fields | {"method": f"method {k % 17}", "x": float(k)})
        for k in range(total // images)
    ]
    start = time.process_time()
    table = as_table(rows, keys)
    checked = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder) / "rows" / "x.parquet", table)
    return {"table_s": round(checked - start, 2), "write_s": round(time.process_time() - checked, 2), "MiB": peak()}


def main() -> None:
    """Prints a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--run", action="store_true", help="real runs instead of simulated rows")
    parser.add_argument("--blocks", action="store_true", help="a million numbers, --images photos a block")
    parser.add_argument("--scale", action="store_true", help="made-up rows of a large run of scores")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        what, folder = args.one
        measures = {"run": partial(run, images=args.images[0]), "scale": measure_scale, "rows": measure}
        result = measures[what](Path(folder))
        print(json.dumps({"images": args.images[0]} | result))
        return
    if args.blocks:
        for images in args.images:
            print(json.dumps({"images": images} | blocks(images)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        what = "run" if args.run else "scale" if args.scale else "rows"
        if what == "rows":
            import tiny

            from suite.config import load
            from suite.run.runner import execute, prepare

            execute(prepare(load(tiny.everything(folder))), folder / "seed")
        for images in args.images:
            run_dir = folder / str(images)
            run_dir.mkdir()
            if what == "scale":
                scale(run_dir, images)
            if what == "rows":
                simulate(folder / "seed", run_dir, images)
                (run_dir / "run.json").write_bytes((folder / "seed" / "run.json").read_bytes())
            words = [sys.executable, __file__, "--images", str(images)]
            subprocess.run([*words, "--one", what, str(run_dir)], check=True)


if __name__ == "__main__":
    main()
