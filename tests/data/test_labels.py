"""Tables of labels: the development kit, Kaggle's, a CSV, and their faults."""

from pathlib import Path

import numpy as np
import pytest
from listed import IMAGENET, labels, refused, table, touch
from scipy.io import savemat

from suite.core.classes import ClassNames
from suite.data.labels import read_labels, read_table
from suite.data.sources import list_images
from suite.errors import DataError


def validation(root: Path, count: int = 4) -> Path:
    return touch(root, *(f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, count + 1)))


def devkit(folder: Path, ids: list[int], synsets: dict[int, str]) -> Path:
    """The development kit's two files; meta.mat is a column of structs with more fields than needed."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    rows = np.zeros((len(synsets), 1), dtype=fields)
    for row, (number, synset) in enumerate(synsets.items()):
        rows[row, 0] = (float(number), synset, "some words", 0.0)
    savemat(folder / "meta.mat", {"synsets": rows})
    path = folder / "ILSVRC2012_validation_ground_truth.txt"
    path.write_text("".join(f"{number}\n" for number in ids))
    return path


def test_validation_folder_with_the_devkit_goes_through_the_synset(tmp_path: Path):
    # IDs in an order that is not the synsets': taking them for indices would give 1, 0, 2, 1.
    truth = devkit(tmp_path / "data", [2, 1, 3, 2], {1: "n02108551", 2: "n01440764", 3: "n01944390", 1860: "n00001740"})
    images = list_images(validation(tmp_path / "val"), labels=truth, classes=IMAGENET)
    assert list(labels(images).values()) == [0, 244, 113, 0]


def test_validation_folder_holding_some_of_the_images(tmp_path: Path):
    truth = devkit(tmp_path, [2, 1, 2], {1: "n02108551", 2: "n01440764"})
    root = touch(tmp_path / "val", "ILSVRC2012_val_00000002.JPEG")
    assert [file.label for file in list_images(root, labels=truth, classes=IMAGENET).files] == [244]


def test_the_devkits_faults_are_one_line(tmp_path: Path):
    root = validation(tmp_path / "val")
    known = {1: "n02108551", 2: "n01440764"}
    refused(root, "00000004", "1 of 4", labels=devkit(tmp_path / "short", [1, 1, 2], known))
    refused(root, "line 2", "ILSVRC2012_ID 3", labels=devkit(tmp_path / "unknown", [1, 3, 1, 1], known))
    refused(
        root, "ILSVRC2012_ID 1", "n00001740", labels=devkit(tmp_path / "no", [1] * 4, {1: "n00001740", 2: "n01440764"})
    )
    refused(root, "synset ids", labels=devkit(tmp_path / "other", [1] * 4, known), classes=ClassNames.indices(9))
    truth = devkit(tmp_path / "text", [1] * 4, known)
    truth.write_text("1\nx\n")
    refused(root, "one ILSVRC2012_ID a line", labels=truth)
    truth = devkit(tmp_path / "bare", [1] * 4, known)
    meta = truth.with_name("meta.mat")
    content = meta.read_bytes()
    for broken in (b"", b"text", content[:200], content[:-40]):
        meta.write_bytes(broken)
        refused(root, "meta.mat", labels=truth)
    savemat(meta, {"other": 1})
    refused(root, "meta.mat", "'synsets'", labels=truth)
    meta.unlink()
    refused(root, "meta.mat' is missing", "CSV", labels=truth)


def test_validation_folder_with_a_csv(tmp_path: Path):
    rows = [
        (f"ILSVRC2012_val_{number:08d}.JPEG", label) for number, label in enumerate(["n01944390", 5, "hay", "7"], 1)
    ]
    path = table(tmp_path / "val.csv", ("file", "label"), *rows)
    images = list_images(validation(tmp_path / "val"), labels=path, classes=IMAGENET)
    assert list(labels(images).values()) == [113, 5, 958, 7]


def test_validation_folder_with_kaggles_csv(tmp_path: Path):
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n01944390 1 2 3 4 n01944390 5 6 7 8 \n"
        "ILSVRC2012_val_00000001,n02108551 1 2 3 4 \n"
        "ILSVRC2012_val_00000009,n01440764 1 2 3 4 \n"
    )
    images = list_images(validation(tmp_path / "val", 2), labels=path, classes=IMAGENET)
    assert list(labels(images).values()) == [244, 113]


def test_label_tables_faults_are_one_line(tmp_path: Path):
    root = touch(tmp_path / "val", "a.jpg")
    refused(root, "no such file", labels=tmp_path / "absent.csv")
    refused(root, "unknown kind", labels=touch(tmp_path, "x.json") / "x.json")
    refused(root, "'a.jpg'", "none", labels=table(tmp_path / "1.csv", ("file", "label"), ("b.jpg", 1)))
    refused(root, "'a.jpg'", "0..999", labels=table(tmp_path / "2.csv", ("file", "label"), ("a.jpg", 1000)))
    refused(root, "twice", labels=table(tmp_path / "3.csv", ("file", "label"), ("a.jpg", 1), ("./a.jpg", 2)))
    refused(root, "'label'", "file,label", labels=table(tmp_path / "4.csv", ("file", "class"), ("a.jpg", 1)))


def test_a_table_is_read_by_its_columns_and_labels_by_file(tmp_path):
    path = table(tmp_path / "labels.csv", ("file", "label", "more"), ("a.jpg", "n01440764", "1"), ("b.jpg", "7", ""))
    assert read_table(path, columns=("file",))[1] == {"file": "b.jpg", "label": "7", "more": ""}
    assert read_labels(path, IMAGENET) == {"a.jpg": 0, "b.jpg": 7}
    with pytest.raises(DataError, match="has no column 'x': its first line must name the columns file,x"):
        read_table(path, columns=("file", "x"))
