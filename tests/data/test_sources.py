"""Image sources: each kind, what each refuses, samples, digests, and lists given back as data."""

import csv
import hashlib
import importlib.metadata
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from suite.core.classes import ClassNames
from suite.data.sources import ImageList, list_images, write_files_csv
from suite.errors import DataError

IMAGENET = ClassNames.imagenet()
SHARED = Path(__file__).parents[3] / "shared" / "imagenet-100"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the hundred photos are not at ../shared/{SHARED.name}")


def touch(root: Path, *names: str) -> Path:
    """Files whose bytes are their names: listing decodes nothing, so anything will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def table(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows(rows)
    return path


def labels(images: ImageList) -> dict[str, int | None]:
    return {file.id: file.label for file in sorted(images.files, key=lambda file: file.id)}


def refused(source: str | Path, *parts: str, classes: ClassNames = IMAGENET, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        list_images(source, classes=classes, **options)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "\n" not in said
    assert all(part in said for part in parts), said
    return said


# Embedded


def test_embedded_are_foolbox_twenty_with_the_labels_in_their_names():
    images = list_images("embedded", classes=IMAGENET)
    expected = [243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317, 305]
    assert list(labels(images).values()) == expected
    assert images.total == 20
    assert images.source == "embedded"
    assert images.root is None
    assert all(file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest() for file in images.files)
    assert images.digest == "c4602ac49ed1f4231805b342512e82b1"  # of foolbox 3.3.4


def test_embedded_without_the_package_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    refused("embedded", "foolbox", "pip install foolbox==3.3.4")


@pytest.mark.parametrize("recorded", [None, []])
def test_embedded_from_another_foolbox_is_one_line(monkeypatch: pytest.MonkeyPatch, recorded: list[object] | None):
    monkeypatch.setattr(importlib.metadata, "files", lambda name: recorded)
    refused("embedded", "foolbox 3.3.4", "holds 0")


def test_embedded_need_classes_that_have_their_labels():
    refused("embedded", "imagenet_00_243.jpg", "out of range 0..9", classes=ClassNames.indices(10))


def test_a_folder_called_embedded_is_reached_with_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "embedded", "a.jpg")
    monkeypatch.chdir(tmp_path)
    images = list_images("./embedded", classes=IMAGENET)
    assert labels(images) == {"a.jpg": None}
    write_files_csv(images, "files.csv")
    assert list_images("files.csv", classes=IMAGENET).digest == images.digest


# Class folders


def test_class_folders_by_synset_name_and_index(tmp_path: Path):
    touch(tmp_path, "n01944390/b.JPEG", "tibetan_mastiff/a.png", "7/x/deep.jpg", "snail/b.JPEG")
    touch(
        tmp_path, "README.md", "labels.csv", ".hidden/h.jpg", "n01944390/.h.jpg", "n01944390/notes.txt", "empty/t.txt"
    )
    images = list_images(tmp_path, classes=IMAGENET)
    expected = {"7/x/deep.jpg": 7, "n01944390/b.JPEG": 113, "snail/b.JPEG": 113, "tibetan_mastiff/a.png": 244}
    assert labels(images) == expected
    assert images.total == 4
    assert images.source == str(tmp_path)


def test_class_folders_of_other_classes(tmp_path: Path):
    (tmp_path / "names.txt").write_text("cat\nsea cow\n")
    root = touch(tmp_path / "data", "sea_cow/a.jpg", "cat/a.jpg")
    classes = ClassNames.from_file(tmp_path / "names.txt")
    assert labels(list_images(root, classes=classes)) == {"cat/a.jpg": 0, "sea_cow/a.jpg": 1}


def test_a_folder_that_is_no_class_is_named(tmp_path: Path):
    refused(touch(tmp_path / "a", "snial/a.jpg"), "class folder 'snial'", "did you mean", "'snail'")
    refused(touch(tmp_path / "b", "n99999999/a.jpg"), "n99999999", "synset")
    refused(touch(tmp_path / "c", "crane/a.jpg"), "'crane'", "134", "517")


def test_images_beside_class_folders_are_refused(tmp_path: Path):
    refused(touch(tmp_path, "a.jpg", "snail/b.jpg"), "both", "'snail'")


# Flat folders


def test_a_flat_folder_of_synset_names(tmp_path: Path):
    touch(tmp_path, "n01944390_1.JPEG", "n01944390_2.jpg", "n02108551.webp", "labels.csv", ".n01944390_3.jpg")
    images = list_images(tmp_path, classes=IMAGENET)
    assert labels(images) == {"n01944390_1.JPEG": 113, "n01944390_2.jpg": 113, "n02108551.webp": 244}


def test_a_flat_folder_of_synset_names_refuses_strangers(tmp_path: Path):
    refused(touch(tmp_path / "a", "n01944390_1.JPEG", "stray.jpg"), "'stray.jpg'", "synset id")
    refused(touch(tmp_path / "b", "n01944390_1.JPEG", "n99999999_1.JPEG"), "'n99999999_1.JPEG'")


def test_a_flat_folder_without_labels(tmp_path: Path):
    touch(tmp_path, "a.jpg", "b.PNG", "README")
    assert labels(list_images(tmp_path, classes=IMAGENET)) == {"a.jpg": None, "b.PNG": None}


def test_other_classes_know_no_synset_names(tmp_path: Path):
    touch(tmp_path, "n01944390_1.JPEG")
    assert labels(list_images(tmp_path, classes=ClassNames.indices(2))) == {"n01944390_1.JPEG": None}


@needs_shared
def test_the_hundred_photos_have_the_labels_of_their_table():
    with (SHARED / "labels.csv").open(newline="") as lines:
        expected = {row["file"]: int(row["class_index"]) for row in csv.DictReader(lines)}
    assert labels(list_images(SHARED, classes=IMAGENET)) == expected


# ImageNet's validation folder


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


def test_labels_without_a_flat_folder_are_refused(tmp_path: Path):
    path = table(tmp_path / "l.csv", ("file", "label"), ("snail/a.jpg", 1))
    refused(touch(tmp_path / "folders", "snail/a.jpg"), "labels", labels=path)
    refused("embedded", "labels", labels=path)
    refused(path, "labels", labels=path)


# CSV


def test_csv_labels_of_every_kind_and_other_columns(tmp_path: Path):
    names = ["a.jpg", "b.jpg", "sub/c, d.jpg", 'quote".jpg', "line\nbreak.jpg", "ünï 图.jpg", "no extension"]
    touch(tmp_path, *names)
    kinds = [113, "n01944390", "snail", "grey wolf", " 7 ", "Hay", "0"]
    path = table(
        tmp_path / "list.csv", ("note", "file", "label"), *(("x", *row) for row in zip(names, kinds, strict=True))
    )
    images = list_images(path, classes=IMAGENET)
    assert labels(images) == dict(zip(names, [113, 113, 113, 269, 7, 958, 0], strict=True))
    assert all(file.path.read_bytes() == file.id.encode() for file in images.files)


def test_csv_with_a_byte_order_mark_and_without_labels(tmp_path: Path):
    touch(tmp_path, "a.jpg", "b.jpg")
    path = tmp_path / "list.csv"
    path.write_bytes("\ufefffile,label\r\na.jpg,\r\nb.jpg, \r\n".encode())
    assert labels(list_images(path, classes=IMAGENET)) == {"a.jpg": None, "b.jpg": None}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["'file'", "file,label"]),
        ("a.jpg,1\n", ["'file'", "file,label"]),
        ("file,label\n", ["lists no files"]),
        ("file,label\na.jpg\n", ["line 2", "2 fields"]),
        ("file,label\na.jpg,1\na.jpg,tench, fish\n", ["line 3", "quotes"]),
        ('file,label\n"a.jpg,1\n', ["CSV"]),
        ("file,label\na.jpg,1\na.jpg,2\n", ["'a.jpg' is listed twice"]),
        ("file,label\na.jpg,1\n./a.jpg,1\n", ["'./a.jpg' is listed twice"]),
        ("file,label\nb.jpg,1\n", ["'b.jpg' is no file"]),
        ("file,label\nfolder,1\n", ["'folder' is no file"]),
        ("file,label\n,1\n", ["''"]),
        ("file,label\n../a.jpg,1\n", ["'../a.jpg' is not a path below"]),
        ("file,label\nfolder/../a.jpg,1\n", ["is not a path below"]),
        ("file,label\n/etc/passwd,1\n", ["'/etc/passwd' is not a path below"]),
        ("file,label\na.jpg,1000\n", ["'a.jpg'", "out of range 0..999"]),
        ("file,label\na.jpg,snial\n", ["'a.jpg'", "did you mean", "'snail'"]),
        ("file,label,sha256\na.jpg,1,abc\n", ["'a.jpg' is not the file that was listed"]),
        ("file,label,source\na.jpg,1,.\nb.jpg,1,folder\n", ["source", "'.'", "'folder'"]),
        ("file,label,source\na.jpg,1,embedded\n", ["'a.jpg' is no file among the embedded photos"]),
        ("file,label\na\0.jpg,1\n", ["list.csv"]),
    ],
)
def test_a_bad_csv_is_one_line(tmp_path: Path, content: str, parts: list[str]):
    touch(tmp_path, "a.jpg", "folder/b.jpg")
    path = tmp_path / "list.csv"
    path.write_text(content)
    refused(path, "list.csv", *parts)


def test_a_csv_that_is_not_text_is_one_line(tmp_path: Path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    refused(path, "list.csv", "CSV")


# A run's list given back


def saved(images: ImageList, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files_csv(images, path)
    return path


def same(first: ImageList, second: ImageList) -> bool:
    places = [[os.path.realpath(file.path) for file in images.files] for images in (first, second)]
    return first.digest == second.digest and places[0] == places[1]


def test_the_embedded_list_is_given_back_without_a_place_of_this_machine(tmp_path: Path):
    images = list_images("embedded", classes=IMAGENET, limit=7, seed=3)
    path = saved(images, tmp_path / "run" / "files.csv")
    assert str(images.files[0].path.parent) not in path.read_text()
    again = list_images(path, classes=IMAGENET, seed=3)
    assert same(images, again)
    assert again.total == 7
    assert same(images, list_images(saved(again, tmp_path / "files.csv"), classes=IMAGENET, seed=3))


def test_a_folders_list_is_given_back_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "work" / "photos", "snail/ä \"b'.jpg", "hay/line\nbreak.jpg", "hay/c.jpg")
    monkeypatch.chdir(tmp_path / "work")
    images = list_images("photos", classes=IMAGENET)
    path = saved(images, tmp_path / "work" / "reports" / "run" / "files.csv")
    assert "../../photos" in path.read_text()
    assert str(tmp_path) not in path.read_text()
    assert same(images, list_images("reports/run/files.csv", classes=IMAGENET))
    monkeypatch.chdir(tmp_path)
    assert same(list_images("work/photos", classes=IMAGENET), list_images(path, classes=IMAGENET))
    assert same(list_images("work/photos", classes=IMAGENET), again := list_images(path, classes=IMAGENET, limit=99))
    assert same(again, list_images(saved(again, tmp_path / "second.csv"), classes=IMAGENET))


def test_an_absolute_folders_list_may_be_moved(tmp_path: Path):
    images = list_images(touch(tmp_path / "photos", "a.jpg"), classes=IMAGENET)
    path = saved(images, tmp_path / "run" / "files.csv")
    moved = tmp_path / "else" / "where" / "files.csv"
    moved.parent.mkdir(parents=True)
    shutil.move(path, moved)
    assert same(images, list_images(moved, classes=IMAGENET))
    assert list(moved.parent.iterdir()) == [moved]


def test_a_changed_file_is_named(tmp_path: Path):
    root = touch(tmp_path / "photos", "a.jpg", "b.jpg")
    path = saved(list_images(root, classes=IMAGENET), tmp_path / "files.csv")
    (root / "b.jpg").write_bytes(b"c.jpg")
    refused(path, "'b.jpg' is not the file that was listed", "SHA-256")
    (root / "b.jpg").unlink()
    refused(path, "'b.jpg' is no file")


def test_an_unreadable_file_in_a_list_is_given_back(tmp_path: Path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    images = list_images(touch(tmp_path, "a.jpg"), classes=IMAGENET)
    assert {file.id for file in images.files if file.sha256 == ""} == {"loop.jpg"}
    assert same(images, list_images(saved(images, tmp_path / "files.csv"), classes=IMAGENET))


# What is no source


def test_what_is_no_source_is_one_line(tmp_path: Path):
    refused(tmp_path / "absent", "absent", "no such file or folder", "embedded")
    refused(touch(tmp_path, "notes.txt") / "notes.txt", "notes.txt", "unknown kind")
    refused(touch(tmp_path, "photo.jpg") / "photo.jpg", "photo.jpg", "unknown kind")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no images")
    refused(touch(tmp_path / "others", "a.txt", ".b.jpg", "folder/c.csv"), "holds no images")
    refused("x" * 5000, "File name too long")
    refused(tmp_path / "two\nlines", r"two\nlines")
    refused("embedded", "limit 0", limit=0)
    refused("embedded", "limit -1", limit=-1)


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", denied)
    refused(tmp_path, "cannot be read: Permission denied")


# Links and odd names


def test_links_to_folders_and_files_are_followed(tmp_path: Path):
    store = touch(tmp_path / "store", "a.jpg")
    root = tmp_path / "data"
    root.mkdir()
    (root / "snail").symlink_to(store, target_is_directory=True)
    (root / "hay").mkdir()
    (root / "hay" / "b.jpg").symlink_to(store / "a.jpg")
    images = list_images(root, classes=IMAGENET)
    assert labels(images) == {"hay/b.jpg": 958, "snail/a.jpg": 113}
    linked = tmp_path / "link"
    linked.symlink_to(root, target_is_directory=True)
    assert list_images(linked, classes=IMAGENET).digest == images.digest


def test_a_link_in_a_circle_is_one_line(tmp_path: Path):
    touch(tmp_path, "snail/a.jpg")
    (tmp_path / "snail" / "again").symlink_to(tmp_path / "snail", target_is_directory=True)
    refused(tmp_path, "again", "link")


def test_every_file_named_like_an_image_is_listed(tmp_path: Path):
    touch(tmp_path, "text.jpg", "UPPER.JPG", "ünï 图.png", "sp ace.jpeg", "quo'te\".gif", "new\nline.tif")
    (tmp_path / "empty.bmp").touch()
    (tmp_path / "nowhere.webp").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    images = list_images(tmp_path, classes=IMAGENET)
    assert images.total == 9
    assert {file.id for file in images.files if not file.sha256} == {"nowhere.webp", "pipe.jpg"}


def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    refused(tmp_path, "not UTF-8", "rename")


# Samples and digests


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    limit=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_a_sample_is_balanced_nested_and_repeatable(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int, seed: int
):
    root = tmp_path_factory.mktemp("balanced")
    touch(root, *(f"{label}/{number}.jpg" for label, size in enumerate(sizes) for number in range(size)))
    classes = ClassNames.indices(len(sizes))
    images = list_images(root, classes=classes, limit=limit, seed=seed)
    assert images.total == sum(sizes)
    assert len(images.files) == min(limit, sum(sizes))
    assert len(set(images.files)) == len(images.files)
    # No class has two more than another that could have given one more.
    taken = Counter(file.label for file in images.files)
    unfilled = [taken[label] for label, size in enumerate(sizes) if taken[label] < size]
    assert all(count <= least + 1 for least in unfilled for count in taken.values())
    assert images == list_images(root, classes=classes, limit=limit, seed=seed)
    assert set(images.files) <= set(list_images(root, classes=classes, limit=limit + 1, seed=seed).files)


def test_the_order_is_the_ids_own_and_not_the_sources(tmp_path: Path):
    names = [f"{number % 10}/{number:03}.jpg" for number in range(100)]
    classes = ClassNames.indices(10)
    images = list_images(touch(tmp_path / "photos", *names), classes=classes, seed=5)
    rows = [(name, name[0]) for name in reversed(names)]
    listed = list_images(table(tmp_path / "photos" / "list.csv", ("file", "label"), *rows), classes=classes, seed=5)
    order = [file.id for file in images.files]
    assert order == [file.id for file in listed.files]
    assert images.digest == listed.digest == list_images(tmp_path / "photos", classes=classes, seed=6).digest
    assert order != [file.id for file in list_images(tmp_path / "photos", classes=classes, seed=6).files]
    neighbours = zip(images.files, images.files[1:], strict=False)
    assert sum(a.label == b.label for a, b in neighbours) < 25  # of 99 pairs; 90 in a folder's own order, 9 expected


def test_an_unlabelled_sample_is_seeded_and_even(tmp_path: Path):
    touch(tmp_path, *(f"{number:02}.jpg" for number in range(20)))
    drawn: Counter[str] = Counter()
    for seed in range(400):
        drawn.update(labels(list_images(tmp_path, classes=IMAGENET, limit=5, seed=seed)).keys())
    # 400 draws of 5 of 20: 100 each, standard deviation 8.7.
    assert len(drawn) == 20
    assert all(60 < count < 140 for count in drawn.values())


def test_which_class_goes_first_depends_on_the_seed(tmp_path: Path):
    touch(tmp_path, "0/a.jpg", "1/a.jpg", "2/a.jpg")
    found = {list_images(tmp_path, classes=IMAGENET, limit=1, seed=seed).files[0].id for seed in range(40)}
    assert found == {"0/a.jpg", "1/a.jpg", "2/a.jpg"}


def test_the_digest_is_of_ids_bytes_and_labels(tmp_path: Path):
    def digest(root: Path) -> str:
        return list_images(root, classes=IMAGENET).digest

    first = digest(touch(tmp_path / "one", "7/a.jpg", "7/b.jpg"))
    assert first == digest(touch(tmp_path / "two", "7/a.jpg", "7/b.jpg", "notes.txt"))
    photo = tmp_path / "two" / "7" / "a.jpg"
    content = photo.read_bytes()
    for byte in range(len(content)):
        photo.write_bytes(content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :])
        assert digest(tmp_path / "two") != first
    photo.write_bytes(content)
    assert digest(tmp_path / "two") == first
    photo.rename(photo.with_name("c.jpg"))
    assert digest(tmp_path / "two") != first
    paths = [
        table(tmp_path / "one" / f"{label}.csv", ("file", "label"), ("7/a.jpg", 7), ("7/b.jpg", label))
        for label in (7, 8)
    ]
    assert digest(paths[0]) == first != digest(paths[1])
