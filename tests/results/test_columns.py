"""Blocks of rows: the table is the one that single rows give, checked as a whole with the same words."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.results.columns import Block, as_table, with_note, without_doubles
from suite.results.schema import SCHEMA, row

FIELDS = {"study": "sanity", "model": "m", "method": "saliency", "metric": "spearman_abs", "x": 3.0, "draw": 1}


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
            rows.append(row(**fields | {"status": one.fields.get("status", "not_applicable"), "message": why}))
        else:
            rows.append(row(**fields, value=value))
    return rows


@given(st.lists(st.lists(st.floats(allow_infinity=True), min_size=1, max_size=5), max_size=5), st.booleans())
def test_a_table_of_blocks_is_that_of_their_rows(values, failed):
    more = {"status": "failed"} if failed else {"message": "halved"}
    blocks = [block(numbers, cell=k, control=k % 2 == 0, **more) for k, numbers in enumerate(values)]
    expected = pa.Table.from_pylist([one for each in blocks for one in singles(each)], schema=SCHEMA)
    assert repr(as_table(blocks).to_pylist()) == repr(expected.to_pylist())  # NaN is not itself
    mixed = [blocks[0], *(one for each in blocks[1:] for one in singles(each))] if blocks else []
    assert repr(as_table(mixed).to_pylist()) == repr(expected.to_pylist())


def test_reasons_and_targets_may_be_each_images_own():
    one = Block(["a", "b"], [None, 3], np.array([math.nan, math.nan]), ["no face", "no box"], FIELDS)
    assert as_table([one])["message"].to_pylist() == ["no face", "no box"]
    assert as_table([one])["target"].to_pylist() == [None, 3]
    assert as_table([one.only([False, True])])["image"].to_pylist() == ["b"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": "x"}, "a row has no column"),
        ({"method": 3}, "column method takes a string, not 3"),
        ({"draw": 1.5}, "column draw takes int, not 1.5"),
        ({"study": ""}, "study and metric must be named"),
        ({"x": math.nan}, "x is part of the key and cannot be NaN"),
        ({"undefined": ""}, "needs a message"),
    ],
)
def test_what_a_row_refuses_a_block_refuses(changes, words):
    with pytest.raises(ValueError, match=words):
        as_table([block([0.5, math.nan]), block([0.5, math.nan], **changes)])


def test_odd_bytes_are_written_out():
    one = Block(["a\udcff.jpg"], [0], np.array([1.0]), "", FIELDS | {"method": "b\udcfe"})
    table = as_table([one])
    assert table["image"].to_pylist() == ["a\\udcff.jpg"]
    assert table["method"].to_pylist() == ["b\\udcfe"]


def test_notes_and_doubles():
    table = as_table([block([0.5, math.nan])])
    assert with_note(table, "halved")["message"].to_pylist() == ["halved", "flat; halved"]
    twice = pa.concat_tables([table, as_table([block([0.7])])])
    assert without_doubles(twice)["value"].to_pylist()[0] == 0.5
    assert len(without_doubles(twice)) == 2
    assert as_table([]).schema.equals(SCHEMA)
