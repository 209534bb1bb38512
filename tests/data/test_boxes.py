"""Boxes in XML, moved into the crop; what is wrong with them is said."""

import pytest
from PIL import Image
from tiny import write_boxes

from suite.data.boxes import _embedded, boxes_for, check_boxes
from suite.data.listing import embedded_photos
from suite.errors import DataError, NotApplicable


def boxes(folder, **changes):
    return boxes_for(str(folder), "class/a.JPEG", **{"synset": "n1", "resize": 100, "crop": (80, 80)} | changes)


def test_a_box_follows_the_resize_and_the_crop(tmp_path):
    write_boxes(tmp_path, ("n1", 140, 40, 260, 160), ("n2", 0, 0, 400, 200))
    # Half the size is 200 x 100; the crop begins at (60, 10).
    assert boxes(tmp_path) == [(10, 10, 70, 70)]
    assert boxes(tmp_path, synset="n2") == [(0, 0, 80, 80)]
    assert boxes(tmp_path, synset=None) == boxes(tmp_path, synset="n9")
    assert boxes(tmp_path, resize=None) == [(28, 16, 52, 64)]


@pytest.mark.parametrize("box", [(260, 40, 140, 160), (0, 0, 50, 50), (500, 0, 600, 50), (-50, -50, 0, 0)])
def test_boxes_that_are_inverted_or_outside_are_not_applicable(tmp_path, box):
    write_boxes(tmp_path, ("n1", *box))
    with pytest.raises(NotApplicable, match="none of 1 boxes can be used"):
        boxes(tmp_path)


def test_a_photo_without_a_file_is_not_applicable(tmp_path):
    with pytest.raises(NotApplicable, match=r"holds no a\.xml"):
        boxes(tmp_path)


@pytest.mark.parametrize("text", ["", "<a>", "<annotation/>", "<annotation><size><width>x</width></size></annotation>"])
def test_what_is_no_such_xml_is_said(tmp_path, text):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match="not VOC-style XML"):
        boxes(tmp_path)


def test_a_folder_without_boxes_is_refused_before_the_run(tmp_path):
    with pytest.raises(DataError, match=r"no \.xml file"):
        check_boxes(str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        check_boxes(str(tmp_path / "x"))


def test_theembedded_photos_have_boxes_that_lie_within_them_all_but_one():
    found = {}
    for name, path in embedded_photos().items():
        with Image.open(path) as photo:
            width, height, objects = _embedded().get(name, (*photo.size, []))
            assert (width, height) == photo.size
        found[name] = [box for _, box in objects]
        assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in found[name])
    assert [name for name, boxes in found.items() if not boxes] == ["imagenet_12_741.jpg"]
    with pytest.raises(NotApplicable, match="no imagenet_12"):
        boxes_for("embedded", "imagenet_12_741.jpg", synset=None, resize=256, crop=(224, 224))
    jeep = boxes_for("embedded", "imagenet_06_609.jpg", synset="n03594945", resize=256, crop=(224, 224))
    assert jeep == [(38, 50, 194, 152)]  # half of (108, 133, 419, 337), less the crop's 16
