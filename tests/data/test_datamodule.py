"""Work items with their images: decoded in their turn, broken files set aside, images in hand taken as they are."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from PIL import Image

from suite.core.classes import ClassNames
from suite.data.datamodule import WorkData, WorkDataset, read_chunk
from suite.data.images import load_image
from suite.data.sources import ImageFile, list_images

SIZE = (None, (16, 16))


@pytest.fixture
def images(tmp_path):
    source = tiny.photos(tmp_path, 4)
    (source / "b" / "broken.png").write_bytes(b"no image")
    return list_images(source, classes=ClassNames(("a", "b", *"cdefghij"), None))


def test_a_chunk_holds_what_could_be_read_and_says_what_could_not(images) -> None:
    chunk = read_chunk("item", images.files, SIZE)
    (fault,) = chunk.faults
    assert fault[0].id == "b/broken.png"
    assert "cannot be identified" in fault[1]
    assert chunk.ids == tuple(file.id for file in images.files)
    assert [file.id for file in chunk.files] == [name for name in chunk.ids if name != "b/broken.png"]
    assert chunk.images.shape == (4, 3, 16, 16)
    assert torch.equal(chunk.images[0], load_image(chunk.files[0].path, resize=None, crop=(16, 16))[0])
    nothing = read_chunk("item", [fault[0]], SIZE)
    assert nothing.images.shape == (0, 3, 16, 16)


def test_notes_stand_beside_their_images_and_images_in_hand_are_not_read(tmp_path) -> None:
    Image.new("L", (20, 20), 100).save(tmp_path / "grey.png")
    pixels = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    files = [
        ImageFile("grey.png", tmp_path / "grey.png", None, ""),
        ImageFile("in hand", tmp_path / "none", 1, "", pixels),
    ]
    chunk = read_chunk(None, files, SIZE)
    assert chunk.notes == ("converted from greyscale", "")
    assert torch.equal(chunk.images[1], pixels)


def test_items_come_one_by_one_in_the_order_of_the_plan(images) -> None:
    items = [SimpleNamespace(model="net", images=at) for at in ((0, 1), (3,))]
    dataset = WorkDataset([items[0], None, items[1]], images, {"net": SIZE})
    chunks = list(WorkData(dataset).predict_dataloader())
    assert len(dataset) == len(chunks) == 3
    assert [chunk.ids for chunk in chunks] == [
        tuple(images.files[i].id for i in (0, 1)), (), (images.files[3].id,),
    ]  # fmt: skip
    assert chunks[1].item is None
    assert len(chunks[1].images) == 0
