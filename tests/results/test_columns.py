"""Blocks of rows: the table is the one that single rows give, checked as a whole with the same words."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.results.columns import Block, as_table, with_note, without_doubles
from suite.results.schema import COMMON, columns_of, key_of, schema_of

KEYS = {"blocks": float, "draw": int, "cell": int, "kind": str}
FIELDS = {"study": "sanity", "model": "m", "method": "saliency", "metric": "spearman_abs", "blocks": 3.0, "draw": 1}


def block(values: list[float], **changes: object) -> Block:
    fields = FIELDS | changes
    ids = [f"photo {i}" for i in range(len(values))]
    return Block(ids, list(range(len(values))), np.array(values, float), fields.pop("undefined", "flat"), fields)


def singles(one: Block) -> list[dict[str, object]]:
    """What a block stands for, row by row."""
    rows = []
    for i, value in enumerate(one.values):
        why = one.undefined if isinstance(one.undefined, str) else one.undefined[i]
        fields = {k: v for k, v in one.fields.items() if k != "status"} | {
            "image": one.images[i],
            "target": one.targets[i],
        }
        if math.isnan(value):
            rows.append({**fields, "status": one.fields.get("status", "not_applicable"), "message": why})
        else:
            rows.append({**fields, "value": float(value)})
    return rows


@given(st.lists(st.lists(st.floats(allow_infinity=True), min_size=1, max_size=5), max_size=5), st.booleans())
def test_a_table_of_blocks_is_that_of_their_rows(values, failed):
    more = {"status": "failed"} if failed else {"message": "halved"}
    blocks = [block(numbers, cell=k, control=k % 2 == 0, **more) for k, numbers in enumerate(values)]
    defaults = {name: {str: "", bool: False}.get(kind) for name, kind in columns_of(KEYS).items()} | {"status": "ok"}
    lines = [defaults | {"value": math.nan} | one for each in blocks for one in singles(each)]
    assert repr(as_table(blocks, KEYS).to_pylist()) == repr(lines)  # NaN is not itself
    mixed = [blocks[0], *(one for each in blocks[1:] for one in singles(each))] if blocks else []
    assert repr(as_table(mixed, KEYS).to_pylist()) == repr(lines)


def test_reasons_and_targets_may_be_each_images_own():
    one = Block(["a", "b"], [None, 3], np.array([math.nan, math.nan]), ["no face", "no box"], FIELDS)
    assert as_table([one], KEYS)["message"].to_pylist() == ["no face", "no box"]
    assert as_table([one], KEYS)["target"].to_pylist() == [None, 3]
    assert as_table([one.only([False, True])], KEYS)["image"].to_pylist() == ["b"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": "x"}, "a row has no column"),
        ({"method": 3}, "column method takes str, not 3"),
        ({"draw": 1.5}, "column draw takes int, not 1.5"),
        ({"draw": 2**53 + 1}, "column draw takes int"),
        ({"study": ""}, "study and metric of a row must be named"),
        ({"blocks": math.nan}, "blocks is part of the key and cannot be NaN"),
        ({"undefined": ""}, "needs a message"),
    ],
)
def test_what_a_row_refuses_a_block_refuses(changes, words):
    with pytest.raises(ValueError, match=words):
        as_table([block([0.5, math.nan]), block([0.5, math.nan], **changes)], KEYS)


def test_odd_bytes_are_written_out():
    one = Block(["a\udcff.jpg"], [0], np.array([1.0]), "", FIELDS | {"method": "b\udcfe"})
    table = as_table([one], KEYS)
    assert table["image"].to_pylist() == ["a\\udcff.jpg"]
    assert table["method"].to_pylist() == ["b\\udcfe"]


def test_notes_and_doubles():
    table = as_table([block([0.5, math.nan])], KEYS)
    assert with_note(table, "halved")["message"].to_pylist() == ["halved", "flat; halved"]
    twice = pa.concat_tables([table, as_table([block([0.7])], KEYS)])
    assert without_doubles(twice)["value"].to_pylist()[0] == 0.5
    assert len(without_doubles(twice)) == 2
    assert as_table([], KEYS).schema.equals(schema_of(KEYS))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"metod": "x"}, "no column"),
        ({"status": "failed", "value": math.nan}, "needs a message"),
        ({"status": "failed", "value": 1.0, "message": "why"}, "no value"),
        ({"status": "error", "value": math.nan, "message": "why"}, "none of"),
        ({"value": math.nan}, "needs a value"),
        ({"blocks": math.nan}, "cannot be NaN"),
        ({"kind": 3}, "takes str"),
        ({"image": 3}, "takes str"),
        ({"target": 1.5}, "takes int"),
        ({"metric": ""}, "must be named"),
    ],
)
def test_single_rows_are_refused_in_the_same_words(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        as_table([FIELDS | {"value": 1.0}, FIELDS | {"value": 1.0} | fields], KEYS)


def test_a_row_is_filled_up_and_typed():
    table = as_table(
        [FIELDS | {"value": np.float32(0.5), "target": np.int64(7), "control": np.True_, "cell": 4.0}], KEYS
    )
    (row,) = table.to_pylist()
    assert list(row) == list(columns_of(KEYS)) == table.schema.names
    assert [row[name] for name in ("status", "kind", "draw", "cell", "control")] == ["ok", "", 1, 4, True]
    assert [type(row[name]) for name in ("target", "value", "control")] == [int, float, bool]


def test_own_columns_stand_behind_the_method_and_are_part_of_the_key():
    assert list(columns_of(KEYS))[:7] == ["study", "model", "method", *KEYS]
    assert key_of(list(columns_of(KEYS)))[-5:] == ["image", "target", "metric", "chunk", "part"]
    with pytest.raises(ValueError, match="cannot be named image"):
        schema_of({"image": str})
    assert set(COMMON) < set(columns_of(KEYS))
