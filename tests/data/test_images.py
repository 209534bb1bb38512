"""Decoding: equal to torchvision's transforms, conversions noted, one line for whatever is no image."""

import suite._torchvision  # noqa: F401

import io
import os
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from suite.core.classes import ClassNames
from suite.data.images import MAX_PIXELS, load_image
from suite.data.sources import list_images
from suite.errors import ConfigError, ImageError

SHARED = Path(__file__).parents[3] / "shared" / "imagenet-100"
RED = (255, 0, 0)


def noise(width: int = 40, height: int = 30, channels: int = 3, seed: int = 0) -> Image.Image:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def expected(image: Image.Image, resize: int | None, crop: tuple[int, int]) -> torch.Tensor:
    from torchvision import transforms

    steps = [transforms.Resize(crop)] if resize is None else [transforms.Resize(resize), transforms.CenterCrop(crop)]
    return transforms.Compose([*steps, transforms.ToTensor()])(image)


def note_of(path: Path) -> str:
    return load_image(path, resize=16, crop=(16, 16))[1]


def as_suite_error(path: Path) -> str:
    try:
        load_image(path, resize=16, crop=(16, 16))
    except ImageError as error:
        return str(error)
    return ""


def refused(path: Path, *parts: str, resize: int | None = 16) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            load_image(path, resize=resize, crop=(16, 16))
    said = str(caught.value)
    assert "\n" not in said
    assert all(part in said for part in (repr(path.name), *parts)), said
    return said


# Sound files


@given(
    width=st.integers(8, 90),
    height=st.integers(8, 90),
    resize=st.one_of(st.none(), st.integers(8, 64)),
    sides=st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
@settings(max_examples=120, deadline=None)
def test_equals_torchvision(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, resize: int | None, sides: tuple[int, int]
):
    crop = sides if resize is None else (min(sides[0], resize), min(sides[1], resize))
    image = noise(width, height)
    path = tmp_path_factory.mktemp("torchvision") / "a.png"
    image.save(path)
    tensor, note = load_image(path, resize=resize, crop=crop)
    assert note == ""
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, *crop)
    assert tensor.is_contiguous()
    assert torch.equal(tensor, expected(image, resize, crop))


@pytest.mark.parametrize("source", ["embedded", SHARED])
def test_real_photos_equal_torchvision_by_the_standard_evaluation(source: str | Path):
    if source == SHARED and not SHARED.is_dir():
        pytest.skip(f"the hundred photos are not at ../shared/{SHARED.name}")
    images = list_images(source, classes=ClassNames.imagenet(), limit=20)
    for file in images.files:
        with Image.open(file.path) as photo:
            if photo.getexif().get(274, 1) != 1:
                continue
            reference = expected(photo.convert("RGB"), 256, (224, 224))
        tensor, note = load_image(file.path, resize=256, crop=(224, 224))
        assert torch.equal(tensor, reference), file.id
        assert note == ("" if photo.mode == "RGB" else "converted from greyscale"), file.id


def test_values_span_zero_to_one(tmp_path: Path):
    for colour, value in (("black", 0.0), ("white", 1.0)):
        Image.new("RGB", (20, 20), colour).save(tmp_path / "a.png")
        assert torch.equal(load_image(tmp_path / "a.png", resize=16, crop=(8, 12))[0], torch.full((3, 8, 12), value))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_noted(tmp_path: Path, orientation: int):
    image = noise(24, 16)
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    tensor, note = load_image(tmp_path / "a.png", resize=16, crop=(16, 16))
    assert torch.equal(tensor, expected(upright, 16, (16, 16)))
    assert ("EXIF orientation" in note) == (orientation != 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0garbage", b"\0"])
def test_broken_exif_does_not_lose_the_photo(tmp_path: Path, exif: bytes):
    image = noise()
    image.save(tmp_path / "a.jpg", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor, note = load_image(tmp_path / "a.jpg", resize=16, crop=(16, 16))
    assert tensor.shape == (3, 16, 16)
    assert "\n" not in note


# Conversions


@pytest.mark.parametrize(
    ("mode", "extension", "note"),
    [
        ("CMYK", "jpg", "converted from CMYK"),
        ("L", "jpg", "converted from greyscale"),
        ("1", "png", "converted from black and white"),
        ("P", "png", "converted from palette"),
        ("P", "gif", "converted from palette"),
        ("LA", "png", "converted from greyscale with alpha, transparency over white"),
        ("RGBA", "png", "converted from RGBA, transparency over white"),
        ("CMYK", "tif", "converted from CMYK"),
    ],
)
def test_conversions_are_noted_and_equal_pils(tmp_path: Path, mode: str, extension: str, note: str):
    path = tmp_path / f"a.{extension}"
    noise().convert(mode).save(path)
    with Image.open(path) as opened:
        reference = expected(opened.convert("RGB"), 16, (16, 16))  # everything here is opaque
    tensor, said = load_image(path, resize=16, crop=(16, 16))
    assert said == note
    assert torch.equal(tensor, reference)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "palette with many", "RGB with a key colour"])
def test_transparency_is_laid_over_white(tmp_path: Path, kind: str):
    path = tmp_path / "a.png"
    if kind in {"RGBA", "LA"}:
        Image.new(kind, (20, 20), (255, 0, 0, 0) if kind == "RGBA" else (0, 0)).save(path)
    elif kind == "palette":
        Image.new("P", (20, 20), 0).save(path, transparency=0)
    elif kind == "palette with many":
        image = Image.new("P", (20, 20), 1)
        image.putpalette([0, 0, 0, *RED])
        image.save(path, transparency=b"\xff\x00")
    else:
        Image.new("RGB", (20, 20), RED).save(path, transparency=RED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor, note = load_image(path, resize=16, crop=(16, 16))
    assert torch.equal(tensor, torch.ones(3, 16, 16))
    assert "transparency over white" in note


def test_half_transparency_is_blended(tmp_path: Path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(tmp_path / "a.png")
    tensor = load_image(tmp_path / "a.png", resize=16, crop=(16, 16))[0]
    assert torch.allclose(tensor[:, 3, 3], torch.tensor([1.0, 127 / 255, 127 / 255]), atol=1 / 255)


@pytest.mark.parametrize("extension", ["png", "tif", "pgm"])
@pytest.mark.parametrize(
    ("value", "scaled"), [(0, 0), (257, 1), (128 * 257, 128), (65535, 255), (300, 1), (65400, 254)]
)
def test_16_bit_greyscale_is_scaled(tmp_path: Path, extension: str, value: int, scaled: int):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(np.full((20, 20), value, dtype=np.uint16)).save(path)
    tensor, note = load_image(path, resize=16, crop=(16, 16))
    assert torch.equal(tensor, torch.full((3, 16, 16), scaled / 255))
    assert note == "converted from 16-bit greyscale"


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bit_colour_is_noted(tmp_path: Path):
    row = b"\0" + struct.pack(">HHH", 65535, 128 * 257, 0) * 16
    (tmp_path / "a.png").write_bytes(png(16, 16, depth=16, colour=2, rows=row * 16))
    tensor, note = load_image(tmp_path / "a.png", resize=16, crop=(16, 16))
    assert note == "converted from 16-bit RGB"
    assert torch.equal(tensor[:, 0, 0], torch.tensor([255, 128, 0]) / 255)


def test_sizes_that_hold_the_digits_16_are_no_16_bit_images(tmp_path: Path):
    for extension in ("png", "jpg", "jp2", "tif", "bmp"):
        noise(16, 16).save(tmp_path / f"a.{extension}")
        assert note_of(tmp_path / f"a.{extension}") == ""


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_values_have_no_known_range(tmp_path: Path, dtype: type):
    Image.fromarray(np.zeros((20, 20), dtype=dtype)).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "32-bit", "8 or 16 bits")


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif"])
def test_the_first_frame_of_several_is_taken(tmp_path: Path, extension: str):
    path = tmp_path / f"a.{extension}"
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("white", "black", "red")]
    options = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    tensor, note = load_image(path, resize=16, crop=(16, 16))
    assert torch.equal(tensor, torch.ones(3, 16, 16))
    assert note.startswith("first frame of several")


# Faults


def test_what_is_no_image_is_one_line(tmp_path: Path):
    (tmp_path / "zero.jpg").touch()
    refused(tmp_path / "zero.jpg", "empty (0 bytes)")
    (tmp_path / "text.jpg").write_text("not a photo\n" * 100)
    refused(tmp_path / "text.jpg", "cannot be identified", "JPEG")
    refused(tmp_path / "absent.jpg", "No such file")
    (tmp_path / "two\nlines.jpg").touch()
    refused(tmp_path / "two\nlines.jpg", "empty")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    refused(tmp_path / "loop.jpg", "cannot be read")
    refused(tmp_path, "not a regular file")
    os.mkfifo(tmp_path / "pipe.jpg")
    refused(tmp_path / "pipe.jpg", "not a regular file")


def test_a_program_for_another_reader_is_no_image(tmp_path: Path):
    """PIL would hand an EPS to Ghostscript, whatever the file is called."""
    noise().save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "cannot be identified")


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    noise().save(tmp_path / "a.jpg")

    def denied(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    refused(tmp_path / "a.jpg", "cannot be read: Permission denied")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_one_line(tmp_path: Path):
    noise().save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").chmod(0)
    refused(tmp_path / "a.jpg", "cannot be read: Permission denied")


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_too_small_is_one_line(tmp_path: Path, size: tuple[int, int]):
    noise(*size).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", f"{size[0]}x{size[1]} pixels", "8x8")


def test_the_smallest_is_taken(tmp_path: Path):
    noise(8, 8).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", resize=16, crop=(16, 16))[0].shape == (3, 16, 16)


def test_too_narrow_to_resize_is_one_line(tmp_path: Path):
    noise(8, 20000).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "too narrow", "8x20000", resize=256)
    assert load_image(tmp_path / "a.png", resize=None, crop=(16, 16))[0].shape == (3, 16, 16)


@pytest.mark.parametrize("width", [12_000, 20_000, 60_000])  # PIL: a warning, an error, an error
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
):
    assert width * width > MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png(width, width, depth=1, colour=0, rows=b"\0" * 100))

    def decoded(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    limit = Image.MAX_IMAGE_PIXELS
    refused(tmp_path / "a.png", "decompression bomb", "128 megapixels")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_large_but_allowed_prints_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # PIL warns from here, refuses from 2000
    noise().save(tmp_path / "a.png")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert note_of(tmp_path / "a.png") == ""
    assert not said


FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9])
def test_truncated_is_one_line(tmp_path: Path, kind: str, part: float):
    buffer = io.BytesIO()
    noise().save(buffer, kind)
    content = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(content[: int(len(content) * part)])
    refused(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", FORMATS)
def test_flipped_bytes_give_an_image_or_one_line(tmp_path: Path, kind: str):
    buffer = io.BytesIO()
    noise().save(buffer, kind)
    path = tmp_path / "a.jpg"
    outcomes = set()
    for seed in range(60):
        draw = random.Random(seed)
        content = bytearray(buffer.getvalue())
        for _ in range(1 + seed % 4):
            content[draw.randrange(min(len(content), 300))] = draw.randrange(256)
        path.write_bytes(content)
        said = as_suite_error(path)
        if said:
            assert "'a.jpg'" in said
            assert "\n" not in said
            outcomes.add("refused")
        else:
            tensor, note = load_image(path, resize=16, crop=(16, 16))
            assert tensor.shape == (3, 16, 16)
            assert "\n" not in note
            assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1
            outcomes.add("taken")
    assert "refused" in outcomes


@pytest.mark.parametrize(("resize", "crop"), [(224, (225, 224)), (0, (1, 1)), (16, (0, 4)), (None, (0, 4))])
def test_sizes_that_are_none_are_a_configuration_error(tmp_path: Path, resize: int | None, crop: tuple[int, int]):
    noise().save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="crop"):
        load_image(tmp_path / "a.png", resize=resize, crop=crop)


def test_three_faults_in_a_folder_lose_nothing_else(tmp_path: Path):
    """What is sound is loaded, what is not is one error each."""
    for number in range(12):
        noise(seed=number).save(tmp_path / f"{number:02}.jpg")
    (tmp_path / "03.jpg").write_bytes((tmp_path / "03.jpg").read_bytes()[:400])
    (tmp_path / "05.jpg").write_bytes(b"")
    (tmp_path / "07.jpg").write_text("text")
    noise().convert("CMYK").save(tmp_path / "09.jpg")
    images = list_images(tmp_path, classes=ClassNames.imagenet())
    notes = {}
    for file in images.files:
        notes[file.id] = as_suite_error(file.path) or note_of(file.path)
    assert images.total == 12
    assert {name for name, note in notes.items() if note} == {"03.jpg", "05.jpg", "07.jpg", "09.jpg"}
    assert all(name in notes[name] for name in ("03.jpg", "05.jpg", "07.jpg"))
    assert notes["09.jpg"] == "converted from CMYK"
