"""Rows of many images without their images: how long reading and tables take, and what memory they hold at most.

    python benchmarks/rows.py --images 500 5000 50000

A run of every study is made on four digits; its rows are given to as many images as asked, chunk by chunk as a run
writes them, compacted, read and made into tables, each size in a process of its own. `--run` measures real runs of
three studies on a tiny network instead, `--blocks` makes a table of a million numbers and writes it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from suite.results.schema import SCHEMA  # noqa: E402

CHUNK = 10


def simulate(seed: Path, run_dir: Path, images: int) -> None:
    """The seed's rows, image by image under new names, in shards of ten images."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    place, run = SCHEMA.get_field_index("image"), {"run": "simulated"}
    for folder in sorted((seed / "rows").iterdir()):
        rows = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
        names = sorted(set(rows["image"].to_pylist()) - {""})
        of = {name: rows.filter(pc.equal(rows["image"], name)) for name in ["", *names]}
        (run_dir / "rows" / folder.name).mkdir(parents=True)
        for chunk in range(0, images, CHUNK):
            parts = [of[""]] if chunk == 0 else []
            for number in range(chunk, min(chunk + CHUNK, images)):
                one = of[names[number % len(names)]] if names else rows[:0]
                parts.append(
                    one.set_column(place, SCHEMA.field("image"), pa.array([f"{number:06d}"] * len(one), pa.string()))
                )
            path = run_dir / "rows" / folder.name / f"00-{chunk // CHUNK:06d}.parquet"
            pq.write_table(pa.concat_tables(parts).replace_schema_metadata(run), path, compression="zstd")


def measure(run_dir: Path) -> dict[str, float]:
    """Seconds to compact, to see what is done, to read all study by study, and to make the tables; MiB at most."""
    from functools import partial

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
        "tables_s": seconds(lambda: build_tables(partial(read, run_dir), read_manifest(run_dir))),
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
    fields = {"study": "sanity", "model": "m", "metric": "spearman_abs", "stage": "cascade_top", "draw": 1, "cell": 4}
    given = [
        Block(names, targets, values, "why", fields | {"method": f"method {k % 17}", "x": float(k)})
        for k in range(total // images)
    ]
    start = time.process_time()
    table = as_table(given)
    made = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_shard(Path(folder) / "rows" / "x.parquet", table)
    return {"table_s": round(made - start, 2), "write_s": round(time.process_time() - made, 2), "MiB": peak()}


def main() -> None:
    """Prints a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--run", action="store_true", help="real runs instead of simulated rows")
    parser.add_argument("--blocks", action="store_true", help="a million numbers, --images photos a block")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        what, folder = args.one
        found = run(Path(folder), args.images[0]) if what == "run" else measure(Path(folder))
        print(json.dumps({"images": args.images[0]} | found))
        return
    if args.blocks:
        for images in args.images:
            print(json.dumps({"images": images} | blocks(images)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if not args.run:
            import tiny

            from suite.config import load
            from suite.run.runner import execute, prepare

            execute(prepare(load(tiny.everything(folder))), folder / "seed")
        for images in args.images:
            place = folder / str(images)
            place.mkdir()
            if not args.run:
                simulate(folder / "seed", place, images)
                (place / "run.json").write_bytes((folder / "seed" / "run.json").read_bytes())
            words = [sys.executable, __file__, "--images", str(images)]
            subprocess.run([*words, "--one", "run" if args.run else "rows", str(place)], check=True)


if __name__ == "__main__":
    main()
