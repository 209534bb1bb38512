"""docs/rows.md lists the columns that rows have, no more and no fewer, each name with one type and one meaning."""

import tiny

from suite.registry import STUDIES, study_part
from suite.results import COMMON

PAGE = (tiny.ROOT / "docs/rows.md").read_text(encoding="utf-8")
TABLE = [
    [cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.count("|") > 3
]
OWN = [cells for cells in TABLE if len(cells) == 4 and cells[0] in STUDIES]


def test_the_page_lists_the_columns_that_all_studies_share() -> None:
    listed = [(name, kind) for name, kind, *_ in (cells for cells in TABLE if len(cells) == 3)]
    assert listed[:1] == [("column", "type")]
    assert listed[2:] == [(name, kind.__name__) for name, kind in COMMON.items()]


def test_the_page_lists_each_studys_own_columns_with_their_types() -> None:
    keys = {name: study_part(name, "study:STUDY").keys for name in STUDIES}
    expected = {(name, column, kind.__name__) for name, own in keys.items() for column, kind in own.items()}
    listed = [tuple(cells[:3]) for cells in OWN]
    assert len(set(listed)) == len(listed)
    assert set(listed) == expected


def test_a_column_has_one_type_and_one_meaning() -> None:
    meanings: dict[str, set[tuple[str, str]]] = {}
    for _, column, kind, meaning in OWN:
        assert ": " in meaning
        meanings.setdefault(column, set()).add((kind, meaning.partition(":")[0]))
    assert {column: texts for column, texts in meanings.items() if len(texts) > 1} == {}
    assert not meanings.keys() & COMMON.keys()
