"""Boxes around objects: VOC-style XML as ImageNet ships it, or the suite's own boxes of the embedded photos.

They are given in the pixels that a network sees. No torch.
"""

import csv
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from suite.data.listing import EMBEDDED
from suite.errors import DataError, NotApplicable, SuiteError

_MOST_BYTES = 1_000_000
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
Box = tuple[int, int, int, int]
_Annotation = tuple[float, float, list[tuple[str, list[float]]]]  # width, height, (name, corners) of each object
Places = list[list[Box] | SuiteError]  # each photo's boxes, or the reason why it has none


def check_boxes(folder: str) -> None:
    """Refuses, before the run, a folder that does not exist or holds no XML file."""
    if folder == EMBEDDED:
        return
    if not Path(folder).is_dir():
        raise DataError(f"data.boxes {folder!r}: no such folder; expected VOC-style XML files named as the images are")
    if next(Path(folder).rglob("*.xml"), None) is None:
        raise DataError(f"data.boxes {folder!r}: holds no .xml file; expected one an image, named as the image is")


def boxes_for(folder: str, image: str, *, synset: str | None, resize: int | None, crop: tuple[int, int]) -> list[Box]:
    """The object's boxes of one image in the pixels that the network sees.

    Args:
        folder: searched at any depth for the image's stem with the suffix .xml; "embedded" is the suite's own list.
        image: the image's id.
        synset: only objects of this name, where any has it; None takes all.
        resize: pixels of the shorter side before the crop; None where the whole image was resized to `crop`.
        crop: (height, width) of the middle that was cut out.

    Returns:
        (x0, y0, x1, y1) whole pixels inside the crop, the far ends not included.

    Raises:
        NotApplicable: there are none, or none of them lies in the crop; inverted and absent ones are named.
        DataError: the file is not such XML.
    """
    if folder == EMBEDDED:
        name, annotation = image, _embedded().get(image)
    else:
        name = f"{Path(image).stem}.xml"
        annotation = next((_read(path) for path in sorted(Path(folder).rglob(name))), None)
    if annotation is None:
        raise NotApplicable(f"data.boxes holds no {name}")
    width, height, objects = annotation
    chosen = [box for label, box in objects if label == synset] or [box for _, box in objects]
    scale = (crop[1] / width, crop[0] / height) if resize is None else (resize / min(width, height),) * 2
    left, top = round((scale[0] * width - crop[1]) / 2), round((scale[1] * height - crop[0]) / 2)
    kept, wrong = [], 0
    for x0, y0, x1, y1 in chosen:
        if x1 <= x0 or y1 <= y0 or x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            wrong += 1
            continue
        a, c = (min(max(round(x * scale[0]) - left, 0), crop[1]) for x in (x0, x1))
        b, d = (min(max(round(y * scale[1]) - top, 0), crop[0]) for y in (y0, y1))
        if a < c and b < d:
            kept.append((a, b, c, d))
    if not kept:
        why = f"{wrong} inverted or outside the image, {len(chosen) - wrong} outside the crop"
        raise NotApplicable(f"{name}: none of {len(chosen)} boxes can be used ({why})")
    return kept


@cache
def _embedded() -> dict[str, _Annotation]:
    """Drawn by eye, to some ten pixels, around the labelled object; the photo labelled prayer rug shows windows."""
    annotations: dict[str, _Annotation] = {}
    with Path(__file__).with_name("embedded_boxes.tsv").open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines, delimiter="\t"):
            width, height, *box = (float(line[key]) for key in ("width", "height", "x0", "y0", "x1", "y1"))
            annotations.setdefault(line["photo"], (width, height, []))[2].append(("", box))
    return annotations


def _read(path: Path) -> _Annotation:
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"boxes {path.name!r}: over a megabyte; expected VOC-style XML")
    try:
        root = ElementTree.fromstring(path.read_bytes())
        width, height = (float(root.findtext(f"size/{key}", "")) for key in ("width", "height"))
        objects = []
        for node in root.iter("object"):
            corners = [float(node.findtext(f"bndbox/{key}", "")) for key in _CORNERS]
            objects.append((node.findtext("name", ""), corners))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(
            f"boxes {path.name!r}: not VOC-style XML ({error}); expected size/width, size/height and "
            f"object/bndbox/{', '.join(_CORNERS)}"
        ) from None
    if min(width, height) < 1:
        raise DataError(f"boxes {path.name!r}: says the image is {width:g} x {height:g} pixels")
    return width, height, objects
