"""Sheets, strips and grids of saved maps."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_fixture import make_run

from suite.errors import SuiteError
from suite.report.pictures import PICTURE_BYTES, SIDES, draw_pictures, load, newer, photo_grid, save_webp, thumbnail
from suite.report.tiles import GAP, HEAD, LABEL, MARGIN, SIDE
from suite.results import read_manifest

CAPTIONS = {("squeezenet1_1", "größe_50%_$x$|y 甲.jpg"): ("snail", "slug, 50.0% (wrong)")}


def test_damaged_arrays_are_one_clear_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, studies=("predictions",))
    path = next((run / "images").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SuiteError, match=rf"{path.name} holds no readable arrays"):
        draw_pictures(run, {}, read_manifest(run))


def test_a_photo_has_its_words_and_its_methods(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=3, methods=("grad_cam", "control_noise"), studies=())
    first, second = draw_pictures(run, CAPTIONS, read_manifest(run))
    assert (first.title, first.sees) == ("snail · squeezenet1_1", "slug, 50.0% (wrong)")
    assert (second.title, second.sees) == ("photo_02.jpg · squeezenet1_1", "")
    assert first.methods == {"grad_cam": True, "control_noise": False}
    with Image.open(first.strip) as strip:
        assert strip.width * len(SIDES) == strip.height * 3
    assert (run / "plots" / "grid-squeezenet1_1-1.png").is_file()
    written = first.full.stat().st_mtime_ns
    draw_pictures(run, CAPTIONS, read_manifest(run))
    assert first.full.stat().st_mtime_ns == written


def test_a_captum_map_beside_an_empty_own_one_is_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, methods=("saliency",), studies=())
    path = next((run / "images").rglob("*.npz"))
    arrays: dict[str, Any] = dict(np.load(path))
    arrays["own|saliency"] = np.zeros_like(arrays["own|saliency"])
    np.savez(path, **arrays)
    (photo,) = draw_pictures(run, {}, read_manifest(run))
    picture = np.asarray(Image.open(photo.full))[:, MARGIN + LABEL + SIDE + GAP :][:, :SIDE]
    colours = [len(np.unique(picture[top : top + 180].reshape(-1, 3), axis=0)) for top in (100, 370)]
    assert colours[0] < 300  # words on an empty tile
    assert colours[1] > 1000


def test_a_grid_leaves_empty_what_a_photo_has_no_map_of() -> None:
    photo = np.full((20, 20, 3), 200, np.uint8)
    lines = [("one", "", {"photo": photo, "own|a": np.eye(4)}), ("two", "", {"photo": photo, "own|b": np.eye(4)})]
    picture = np.asarray(photo_grid(lines, {})).astype(int)
    step, left, top = 136 + GAP, MARGIN + LABEL + 68, MARGIN + HEAD + 60
    empty = [[(picture[top + row * step, left + k * step + 20] > 250).all() for k in range(3)] for row in range(2)]
    assert empty == [[False, False, True], [False, True, False]]


def test_a_picture_for_the_page_is_small_and_follows_its_source(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    small = thumbnail(tmp_path / "a.png")
    assert small.stat().st_size <= PICTURE_BYTES
    assert np.asarray(Image.open(small)).shape[1] <= 1300
    assert newer(small, tmp_path / "a.png")
    os.utime(small, ns=(0, 0))
    assert not newer(small, tmp_path / "a.png")
    assert newer(thumbnail(tmp_path / "a.png"), tmp_path / "a.png")
    save_webp(Image.new("RGB", (50, 40)), tmp_path / "b.webp")
    assert np.asarray(Image.open(tmp_path / "b.webp")).shape == (40, 50, 3)


def test_arrays_can_be_read_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.arange(2))
    assert list(load(tmp_path / "a.npz", "x")) == ["x"]
    assert set(load(tmp_path / "a.npz")) == {"x", "y"}


def test_a_reference_that_is_not_finite_is_said_in_words(tmp_path: Path) -> None:
    run = make_run(tmp_path, photos=2, methods=("saliency",), studies=())
    path = next((run / "images").rglob("*.npz"))
    arrays: dict[str, Any] = dict(np.load(path))
    for side in ("captum", "difference"):
        arrays[f"{side}|saliency"] = np.full_like(arrays["own|saliency"], np.nan)
    np.savez(path, **arrays)
    (photo,) = draw_pictures(run, {}, read_manifest(run))
    strip = np.asarray(Image.open(photo.strip)).astype(int)
    side = strip.shape[1] // 2
    own, captum, difference = (strip[k * side + 5 : (k + 1) * side - 5, side + 5 :] for k in range(3))
    assert own.std() > 15
    assert np.abs(captum - difference).max() < 30  # the same words on both
    assert np.median(captum) > 220
