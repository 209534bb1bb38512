"""The LightningModule by itself: a failed item is a row with its traceback, and studies share a chunk's works."""

from types import SimpleNamespace

import pytest
import tiny
import torch

from suite.config import NetworkConfig, validate
from suite.core.passes import Cost
from suite.data.datamodule import Chunk
from suite.data.sources import ImageFile
from suite.models.load import wrap
from suite.run.bench import Bench
from suite.run.plan import WorkItem
from suite.studies.base import Outcome, Study


class Noting(Study):
    name = "noting"

    def __init__(self) -> None:
        self.works = []

    def cost(self, methods, config):
        return Cost()

    def run(self, work):
        self.works.append(work)
        if work.part == 1:
            raise RuntimeError("boom")
        return Outcome(work.rows(self.name, "", "brightness", work.images.mean((1, 2, 3))))


@pytest.fixture
def bench(tmp_path) -> Bench:
    config = validate({"models": [{"name": "a"}, {"name": "b"}]})
    networks = {name: wrap(tiny.net(), NetworkConfig(name=name, input_size=32)) for name in ("a", "b")}
    return Bench(config, networks, {}, {"noting": Noting()}, tmp_path, threads=1)


def chunk(item: WorkItem | None, count: int = 2) -> Chunk:
    files = tuple(ImageFile(f"{i}.png", tiny.ROOT, i) for i in range(count))
    images = torch.full((count, 3, 32, 32), 0.5)
    return Chunk(item, images, files, ("",) * count, (), tuple(file.id for file in files))


def test_an_item_becomes_rows_and_nothing_is_done_without_one(bench) -> None:
    item = WorkItem("noting", "a", 0, (0, 1))
    done, outcome = bench.predict_step(chunk(item), 0)
    assert done == item
    assert outcome.rows["value"].to_pylist() == [0.5, 0.5]
    assert bench.predict_step(chunk(None), 1) is None


def test_what_raises_is_a_failed_row_that_names_its_traceback(bench, tmp_path) -> None:
    _, outcome = bench.predict_step(chunk(WorkItem("noting", "a", 3, (0, 1), part=1)), 0)
    (row,) = outcome.rows.to_pylist()
    assert (row["metric"], row["status"], row["chunk"], row["part"]) == ("item", "failed", 3, 1)
    name = row["message"].partition("errors/")[2].rstrip(")")
    assert "RuntimeError: boom" in (tmp_path / "errors" / name).read_text()


def test_networks_of_a_chunk_share_works_until_the_next_chunk(bench) -> None:
    study = bench.studies["noting"]
    for model in ("a", "b", "a"):
        bench.predict_step(chunk(WorkItem("noting", model, 0, (0, 1))), 0)
    first, second, again = study.works
    assert again is first
    assert [first.others[0], second.others[0]] == [second, first]
    assert first.positions == [0, 1]
    bench.predict_step(chunk(WorkItem("noting", "a", 1, (2, 3))), 0)
    third = study.works[-1]
    assert third is not first
    assert third.positions == [2, 3]
    assert first.others == ()  # let go, with its maps


def test_only_images_go_to_the_device_in_the_networks_type(bench) -> None:
    batch = chunk(WorkItem("noting", "a", 0, (0, 1)))
    moved = bench.double().transfer_batch_to_device(batch, torch.device("cpu"), 0)
    assert moved.images.dtype == torch.float64
    assert (moved.item, moved.files, moved.ids) == (batch.item, batch.files, batch.ids)
    empty = SimpleNamespace(item=None)
    assert bench.transfer_batch_to_device(empty, torch.device("cpu"), 0) is empty
