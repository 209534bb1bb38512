"""Tiles in rows: where they lie, what lies over what, and words that fit."""

import numpy as np
import pytest
from PIL import Image, ImageFont

from suite.report.tiles import EMPTY, GAP, HEAD, LABEL, MARGIN, PAPER, SIDE, Tile, fit, map_tile, sheet, wrap

RED, BLUE = (np.full((10, 10, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))


def colour(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(image.convert("RGB").load()[x, y])  # type: ignore[index]


def test_tiles_lie_side_by_side_and_rows_below_each_other() -> None:
    drawn = sheet([("", [Tile("", RED), None, Tile("", BLUE)]), ("", [Tile("", BLUE)])])
    middle = MARGIN + SIDE // 2
    assert drawn.size == (2 * MARGIN + 3 * SIDE + 2 * GAP, 2 * MARGIN + 2 * SIDE + GAP)
    assert colour(drawn, middle, middle) == (200, 0, 0)
    assert colour(drawn, middle + SIDE + GAP, middle) == PAPER
    assert colour(drawn, middle + 2 * (SIDE + GAP), middle) == (0, 0, 200)
    assert colour(drawn, middle, middle + SIDE + GAP) == (0, 0, 200)


def test_words_take_their_room() -> None:
    bare, titled = sheet([("", [Tile("", RED)])]), sheet([("", [Tile("name", RED)])])
    labelled, below = sheet([("label\nmore", [Tile("", RED)])]), sheet([("", [Tile("", RED, below="words")])])
    assert titled.height == bare.height + HEAD
    assert labelled.width == bare.width + LABEL
    assert below.height > bare.height
    columns = sheet([("", [None, Tile("", RED)])], columns=["one", "two"])
    assert columns.height == titled.height
    heads = np.asarray(columns)[MARGIN : MARGIN + HEAD - 3]
    assert [(heads[:, x : x + SIDE] < 128).any() for x in (MARGIN, MARGIN + SIDE + GAP)] == [True, True]
    more = sheet([("", [Tile("", RED)])], title="above", notes=["below"])
    assert more.height > bare.height + 40
    assert colour(more, MARGIN + 50, MARGIN + 50) == (200, 0, 0)


@pytest.mark.parametrize("side", [60, 224])
def test_a_map_lies_over_the_photo_before_it(side: int) -> None:
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = 1
    tiles = [Tile("", RED), map_tile("", values), Tile("", BLUE), map_tile("", values)]
    drawn = sheet([("", tiles), ("", [map_tile("", values)])], side=side)
    y, step = MARGIN + side - 8, side + GAP
    over_red, over_blue = (sum(colour(drawn, MARGIN + k * step + side - 8, y)) for k in (1, 3))
    assert over_red == pytest.approx(3 * 0.55 * 0.299 * 200, abs=4)  # what the map leaves alone is the grey photo
    assert over_blue == pytest.approx(3 * 0.55 * 0.114 * 200, abs=4)
    assert sum(colour(drawn, MARGIN + side - 8, y + step)) == over_blue  # the next row has no photo of its own


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.full((3, 3), np.nan), "equal to the last bit"])
def test_what_cannot_be_drawn_is_said_in_words(values: np.ndarray | str) -> None:
    tile = Tile("", values) if isinstance(values, str) else map_tile("", values, signed=True)
    drawn = np.asarray(tile.draw(Image.new("RGB", (200, 100)), 200))
    assert drawn.shape == (100, 200, 3)
    assert (drawn[0] == EMPTY).all()
    assert (drawn != EMPTY).any()


def test_a_scale_says_where_colours_end() -> None:
    values = np.array([[-3.0, 1.0]])
    assert map_tile("", values, limit=2).below == "≤ −2 to ≥ 2"
    assert map_tile("", values, limit=3).below == "≤ −3 to 3"
    assert map_tile("", np.abs(values), limit=2).below == "0 to ≥ 2"
    assert map_tile("", values).below == ""
    assert (map_tile("", values).kind, map_tile("", values, False).kind) == ("signed map", "map")
    drawn = sheet([("", [Tile("", RED), map_tile("", values, limit=2)])])
    y, left = MARGIN + SIDE + 7, MARGIN + SIDE + GAP
    low, high = colour(drawn, left + 2, y), colour(drawn, left + SIDE - 3, y)
    assert low[2] > low[0]  # blue
    assert high[0] > high[2]  # orange


def test_photos_keep_their_form_and_tiny_ones_their_pixels() -> None:
    assert fit(np.zeros((10, 20, 3), np.uint8), 100).size == (100, 50)
    checks = np.indices((4, 4)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    assert set(np.unique(np.asarray(fit(checks.astype(np.uint8), 64)))) == {0, 255}


@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize(
    "text", ["one two three four five six", "guided_grad_cam_of_everything", "", "a\nb", "甲" * 40]
)
def test_text_fits_and_says_where_it_was_cut(text: str, lines: int) -> None:
    font = ImageFont.load_default(12)
    parts = wrap(text, font, 60, lines)
    assert len(parts) <= lines
    assert all(font.getlength(part) <= 60 for part in parts)
    whole = "".join(text.split())
    shown = "".join("".join(parts).split())
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]) and len(shown) > 4)
