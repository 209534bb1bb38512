"""Every kind of image source, and what is no source."""

import csv
import hashlib
import importlib.metadata
import os
from pathlib import Path

import pytest
from listed import IMAGENET, labels, refused, table, touch

from suite.core.classes import ClassNames
from suite.data.listing import embedded_photos, list_files
from suite.data.sources import list_images, write_files_csv

SHARED = Path(__file__).parents[3] / "shared" / "imagenet-100"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the hundred photos are not at ../shared/{SHARED.name}")


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


def test_labels_without_a_flat_folder_are_refused(tmp_path: Path):
    path = table(tmp_path / "l.csv", ("file", "label"), ("snail/a.jpg", 1))
    refused(touch(tmp_path / "folders", "snail/a.jpg"), "labels", labels=path)
    refused("embedded", "labels", labels=path)
    refused(path, "labels", labels=path)


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


def test_candidates_come_with_the_folder_that_their_ids_are_relative_to(tmp_path):
    touch(tmp_path, "n01440764/a.jpg", "n01443537/deep/b.png", "n01443537/.hidden.png")
    files, root = list_files(str(tmp_path), labels=None, classes=IMAGENET)
    assert root == tmp_path
    assert [(c.id, c.label, c.sha256) for c in files] == [
        ("n01440764/a.jpg", 0, ""),
        ("n01443537/deep/b.png", 1, ""),
    ]
    embedded, no_root = list_files("embedded", labels=None, classes=IMAGENET)
    assert no_root is None
    assert {c.id: c.path for c in embedded} == embedded_photos()
