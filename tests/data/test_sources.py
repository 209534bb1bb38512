"""Image sources: each kind, what each refuses, samples, digests, and lists given back as data."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listed import IMAGENET, labels, refused, table, touch

from suite.core.classes import ClassNames
from suite.data.sources import ImageList, list_images, write_files_csv


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
