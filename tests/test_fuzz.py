"""Whatever bytes are given: one line that names the file, or all is well. And nothing that is read is run."""

import ast
import io
import json
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tiny
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from suite.config import NetworkConfig, RunConfig, load, validate
from suite.core.classes import ClassNames
from suite.data.boxes import boxes_for
from suite.data.images import load_image
from suite.data.sources import list_images
from suite.errors import SuiteError
from suite.models.load import load_model
from suite.report import build
from suite.report.pictures import load as load_arrays
from suite.results import as_table, read, read_manifest, write_shard
from suite.results.schema import columns_of
from suite.results.store import done

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner))
SHIPPED = [yaml.safe_load(path.read_text()) for path in sorted((tiny.ROOT / "configs").glob("*.yaml"))]


def one_line(use: Callable[[], Any]) -> bool:
    """Whether it was refused, which is one line of the suite's own."""
    try:
        use()
    except SuiteError as error:
        return len(str(error).splitlines()) == 1 or pytest.fail(repr(error))
    return False


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in pairs:
        yield from places(inner, (*at, key))


@pytest.mark.slow
@settings(max_examples=30)
@given(tree=st.sampled_from(SHIPPED), data=st.data())
def test_a_configuration_with_anything_in_it_is_valid_or_one_line(tree: dict[str, Any], data: st.DataObject) -> None:
    broken = json.loads(json.dumps(tree))
    *above, last = data.draw(st.sampled_from([place for place in places(broken) if place]))
    node = broken
    for key in above:
        node = node[key]
    key = data.draw(st.just(last) | st.text(max_size=6)) if isinstance(node, dict) else last
    node[key] = data.draw(TREES)
    broken.pop("presets", None)
    if not one_line(lambda: validate(broken)):
        validate(broken).digest()


@given(text=st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>%@`'\"\n\t #,?0.=~\x00é"), max_size=40))
def test_any_text_is_a_configuration_or_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text)
    one_line(lambda: load(path))
    path.write_text("seed: 1")
    one_line(lambda: load(path, [text]))


KEYS = {"name": str, "count": int, "share": float}


@given(
    fields=st.dictionaries(
        st.sampled_from([*columns_of(KEYS), "other_column"]),
        PLAIN | st.sampled_from(["ok", "failed", "not_applicable", 1.0, "why"]),
    )
)
def test_a_row_of_anything_is_refused_or_comes_back(
    fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        table = as_table([{"study": "s", "metric": "m", "value": 1} | fields], KEYS)
    except (ValueError, TypeError, OverflowError):  # a study's own fault, which is a failed row of its item
        return
    folder = tmp_path_factory.mktemp("row")
    write_shard(folder / "rows" / "s" / "one.parquet", table)
    (found,) = read(folder).to_dict("records")
    for name, value in table.to_pylist()[0].items():
        same = found[name] == value if value == value and value is not None else pd.isna(found[name])
        assert same, name


class Runs:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def damaged(content: bytes, seed: int) -> Iterator[bytes]:
    """Nothing, cut, with other bytes, with more behind, and something else altogether."""
    draw = random.Random(seed)
    yield b""
    yield from (content[: len(content) * part // 8] for part in (1, 4, 7))
    for _ in range(4):
        changed = bytearray(content)
        for _ in range(1 + len(content) // 200):
            changed[draw.randrange(len(content))] = draw.randrange(256)
        yield bytes(changed)
    yield b"\xff\xfe\x00bad" + content
    yield b"\x00" * 64
    yield draw.randbytes(300)


def corpus(folder: Path) -> Iterator[tuple[str, bytes, Callable[[Path], Any]]]:
    """A name, sound content, and what reads it."""
    names = ClassNames.from_file(folder / "classes.txt")
    picture, arrays, weights, tensors, shard, part = (io.BytesIO() for _ in range(6))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(picture, "JPEG")
    np.savez_compressed(arrays, id=np.array("x"), photo=np.zeros((4, 4, 3), np.uint8))
    torch.save(tiny.Net().state_dict(), weights)
    from safetensors.torch import save

    tensors.write(save(tiny.Net().state_dict()))
    table = as_table([{"study": "agreement", "metric": "m", "value": 1.0}])
    pq.write_table(table, shard, write_page_checksum=True)
    pq.write_table(table.replace_schema_metadata({"shards": '["00-000000.parquet"]'}), part)
    box = "<annotation><size><width>9</width><height>9</height></size><object><name>a</name><bndbox>"
    box += "".join(f"<{k}>{v}</{k}>" for k, v in {"xmin": 1, "ymin": 1, "xmax": 8, "ymax": 8}.items())

    def network(path: Path) -> Any:
        return load_model(NetworkConfig(factory="tiny:net", input_size=tiny.SIDE, weights=str(path)))

    yield "a.jpg", picture.getvalue(), lambda p: load_image(p, resize=32, crop=(32, 32))
    yield "a.npz", arrays.getvalue(), lambda p: load_arrays(p)
    yield "w.pth", weights.getvalue(), network
    yield "w.safetensors", tensors.getvalue(), network
    yield "rows/agreement/00-000000.parquet", shard.getvalue(), lambda p: (done(p.parents[2]), read(p.parents[2]))
    yield "rows/agreement/part-000000.parquet", part.getvalue(), lambda p: (done(p.parents[2]), read(p.parents[2]))
    yield "run.json", b'{"status": "done", "models": {"a": 1}}', lambda p: read_manifest(p.parent)
    yield "c.yaml", (tiny.ROOT / "configs" / "attacks.yaml").read_bytes(), lambda p: load(p)
    yield "names.txt", b"a\nb\nc\n", ClassNames.from_file
    yield (
        "list.csv",
        b"file,label,sha256\nphotos/a/00.png,0,\nphotos/b/01.png,b,\n",
        lambda p: list_images(p, classes=names),
    )
    yield (
        "b/x.xml",
        f"{box}</bndbox></object></annotation>".encode(),
        lambda p: boxes_for(str(p.parent), "x", synset=None, resize=None, crop=(9, 9)),
    )


def test_every_damaged_file_is_one_line_or_harmless(tmp_path: Path) -> None:
    tiny.photos(tmp_path)
    count = refused = 0
    for number, (name, sound, use) in enumerate(corpus(tmp_path)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        for content in damaged(sound, number):
            folder = tmp_path if name == "list.csv" else tmp_path / str(count)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            count += 1
            refused += one_line(lambda: use(path))  # noqa: B023
    assert count >= 60
    assert refused > count / 2


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors", "a.npz", "a.npy"])
def test_a_pickle_that_would_run_something_does_not(name: str, tmp_path: Path) -> None:
    path, trace = tmp_path / name, tmp_path / "trace"
    for content in (pickle.dumps(Runs(trace)), _saved(Runs(trace)), _stored(Runs(trace))):
        path.write_bytes(content)
        part = NetworkConfig(factory="tiny:net", input_size=tiny.SIDE, weights=str(path))
        refused = one_line(lambda: load_arrays(path) if name.startswith("a") else load_model(part))  # noqa: B023
        assert refused or name.startswith("a")  # numpy hands out what is no array as bytes
    assert not trace.exists()


def _saved(thing: object) -> bytes:
    file = io.BytesIO()
    torch.save({"x": thing}, file)
    return file.getvalue()


def _stored(thing: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, photo=np.array([thing], dtype=object))
    return file.getvalue()


def test_nothing_unpickles_or_runs_what_it_reads() -> None:
    """Each call that could, in every source file; what is allowed is named here."""
    never = {"pickle.load", "pickle.loads", "yaml.load", "eval", "exec", "marshal.loads", "shelve.open", "os.system"}
    never |= {"extractall", "torch.jit.load", "joblib.load", "pd.read_pickle"}
    safe = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    for path in sorted((tiny.ROOT / "suite").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in never, f"{path.name}:{node.lineno}"
                assert not called.endswith((".extractall", ".unsafe_load")), f"{path.name}:{node.lineno}"
                if called in safe:
                    key, value = safe[called]
                    given_ = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                    assert given_.get(key) is value, f"{path.name}:{node.lineno}"
                shell = [k for k in node.keywords if k.arg == "shell"]
                assert not shell, f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Import) and any(alias.name == "pickle" for alias in node.names):
                assert path.name == "embedded.py", "pickle is for the restricted reader alone"


@pytest.mark.slow
def test_no_name_leaves_the_run_directory(tmp_path: Path) -> None:
    evil = "../../../evil"
    folder = tmp_path / "deep" / "deeper"
    folder.mkdir(parents=True)
    methods = [{"name": "saliency", "label": evil}, {"name": "grad_cam", "label": "/evil\x00<b>"}]
    tree = yaml.safe_load(tiny.config(folder, count=4, methods=methods).read_text())
    (folder / "classes.txt").write_text("\n".join([evil, "/evil", "C:\\evil", *"defghij"]) + "\n")
    for old, new in (("a", "0"), ("b", "1"), ("c", "2")):
        (folder / "photos" / old).rename(folder / "photos" / new)
    first = next((folder / "photos" / "0").glob("*.png"))
    first.rename(first.with_name("..\\..\\evil<img src=x>.png"))
    tree["model"]["label"] = evil
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
    before = set(tmp_path.rglob("*"))
    run_dir = folder / "run"
    assert isinstance(load(folder / "tiny.yaml"), RunConfig)
    rows = tiny.rows(folder / "tiny.yaml", run_dir)
    assert not (rows["status"] == "failed").any()
    page = build(run_dir).read_text()
    assert all(run_dir in path.parents for path in set(tmp_path.rglob("*")) - before - {run_dir})
    assert "<img src=x>" not in page
