"""Tables of which class a file is: CSV, Kaggle's, ImageNet's development kit. No torch; reads no image."""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from suite.core.classes import ClassNames
from suite.errors import DataError

VALIDATION_NAME = "ILSVRC2012_val_{:08d}"


def read_table(path: Path, *, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a UTF-8 CSV whose first line names its columns.

    Raises:
        DataError: unreadable, not a CSV, a column of `columns` missing, or a row with too few or too many fields.
    """
    where, expected = repr(str(path)), ",".join(columns)
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            header = reader.fieldnames or ()
            if missing := [column for column in columns if column not in header]:
                raise DataError(
                    f"{where} has no column {missing[0]!r}: its first line must name the columns {expected}"
                )
            for row in reader:
                if None in row or None in row.values():
                    count = f"{where} line {reader.line_num}: expected {len(header)} fields"
                    raise DataError(f"{count}; put a name that holds a comma in quotes")
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{where} cannot be read as a CSV of {expected}: {reason}") from error
    return rows


def resolve_label(classes: ClassNames, label: str | int, *, where: str) -> int:
    """`classes.resolve`; its error begins with `where`."""
    try:
        return classes.resolve(label)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def read_labels(path: Path, classes: ClassNames) -> Mapping[str, int]:
    """Labels of the files of one folder, by file name, or by file name without extension.

    Args:
        path: a CSV of file,label; Kaggle's LOC_val_solution.csv (ImageId,PredictionString); or the development kit's
            ILSVRC2012_validation_ground_truth.txt, beside which its meta.mat must lie.
        classes: the classes that labels name.

    Raises:
        DataError: missing, of unknown kind, malformed, or a label that is no class.
    """
    where, kinds = f"labels {str(path)!r}", "of file,label or ILSVRC2012_validation_ground_truth.txt"
    if not path.is_file():
        raise DataError(f"{where}: no such file; give a CSV {kinds}")
    if path.suffix.lower() == ".txt":
        return _devkit(path, classes)
    if path.suffix.lower() != ".csv":
        raise DataError(f"{where} is of unknown kind: give a .csv {kinds}")
    table: dict[str, int] = {}
    for name, label in _named_labels(path):
        if name in table:
            raise DataError(f"{where} list {name!r} twice")
        table[name] = resolve_label(classes, label, where=f"{where}: {name!r}")
    return table


def _named_labels(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        kaggle = lines.readline().strip() == "ImageId,PredictionString"
    if not kaggle:
        return [(str(PurePosixPath(row["file"])), row["label"]) for row in read_table(path, columns=("file", "label"))]
    rows = read_table(path, columns=("ImageId", "PredictionString"))
    # "n01978287 240 170 260 240 n01978287 ...": a synset and a box for each object, all of one class.
    return [(row["ImageId"], row["PredictionString"].split(" ")[0]) for row in rows]


def _devkit(path: Path, classes: ClassNames) -> Mapping[str, int]:
    """ImageNet 2012 development kit: line n is image n's ILSVRC2012_ID, an order of classes only meta.mat explains."""
    where = f"labels {str(path)!r}"
    if classes.synsets is None:
        why = "are ImageNet's, and this network's classes have no synset ids"
        raise DataError(f"{where} {why}: give a CSV of file,label")
    synsets = _synset_of_id(path.with_name("meta.mat"))
    try:
        ids = [int(line) for line in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{where} cannot be read: expected one ILSVRC2012_ID a line") from error
    labels: dict[int, int] = {}
    for number in sorted(set(ids)):
        if number not in synsets:
            raise DataError(f"{where} line {ids.index(number) + 1}: meta.mat knows no ILSVRC2012_ID {number}")
        labels[number] = resolve_label(classes, synsets[number], where=f"{where}: ILSVRC2012_ID {number}")
    return {VALIDATION_NAME.format(line): labels[number] for line, number in enumerate(ids, start=1)}


def _synset_of_id(path: Path) -> dict[int, str]:
    if not path.is_file():
        raise DataError(
            f"{str(path)!r} is missing: the development kit's labels need its data/meta.mat beside them; "
            "or give a CSV of file,label"
        )
    import scipy.io  # half a second that only the development kit needs

    try:
        synsets = scipy.io.loadmat(path, squeeze_me=True)["synsets"]
        return {int(i): str(synset) for i, synset in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}
    except Exception as error:  # a damaged file raises what the parser met: MatReadError, zlib.error, KeyError...
        raise DataError(
            f"{str(path)!r} is not the development kit's meta.mat: it has no table 'synsets' of ILSVRC2012_ID and WNID"
        ) from error
