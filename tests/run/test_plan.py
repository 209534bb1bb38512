"""The plan: fixed chunks, items, costs in passes; and a dry run that leaves nothing behind."""

from pathlib import Path

import pytest
import tiny

from suite.config import validate
from suite.core.passes import Cost
from suite.errors import ConfigError
from suite.run.plan import assign_to_ranks, chunks, methods_of, passes, plan, studies_of


def test_chunks_are_consecutive_and_whole() -> None:
    assert chunks(7, 3) == [(0, 1, 2), (3, 4, 5), (6,)]
    assert chunks(3, 10) == [(0, 1, 2)]


def test_items_do_not_depend_on_devices() -> None:
    made = []
    for trainer in ({}, {"devices": 4, "num_nodes": 2, "strategy": "ddp"}):
        config = validate({"data": {"batch_size": 3}, "studies": {"agreement": {}, "speed": {}}, "trainer": trainer})
        made.append(plan(config, ["a", "b"], 7, studies_of(config)))
    assert made[0] == made[1]
    items = made[0]
    assert len(items) == 2 * 3 * 2 + 2
    assert [i.images for i in items if i.study == "speed"] == [(0, 1, 2)] * 2
    assert all(i.study == "speed" for i in items[-2:])
    for model in "ab":
        seen = [p for i in items if i.model == model and i.study == "predictions" for p in i.images]
        assert seen == list(range(7))
    assert len({i.shard(0 if i.model == "a" else 1) for i in items}) == len(items)


def test_a_study_looks_at_the_networks_that_it_names() -> None:
    studies = {"agreement": {"networks": ["b"]}, "speed": {"networks": ["a"]}}
    tree = {"models": [{"name": "resnet18", "label": label} for label in "ab"], "studies": studies}
    items = plan(validate(tree), ["a", "b"], 7, studies_of(validate(tree)))
    assert {(i.study, i.model) for i in items} == {
        ("predictions", "a"), ("predictions", "b"), ("agreement", "b"), ("speed", "a")
    }  # fmt: skip
    wrong = validate(tree | {"studies": {"agreement": {"networks": ["c"]}}})
    with pytest.raises(ConfigError, match="no network 'c'"):
        plan(wrong, ["a", "b"], 7, studies_of(wrong))


def test_a_study_with_networks_of_its_own_is_one_item_on_the_first_network_that_could_be_had() -> None:
    tree = {"models": [{"name": "resnet18", "label": label} for label in "abc"], "studies": {"digits": {}}}
    items = plan(validate(tree), ["b", "c"], 3, studies_of(validate(tree)))
    assert [(i.study, i.model) for i in items if i.study == "digits"] == [("digits", "b")]


def test_a_run_inside_a_run_is_checked_before_anything_runs() -> None:
    for studies, why in (({"speed": {}}, "no study of single photos"), ({"sharp": {}}, "unknown key")):
        config = validate({"studies": {"digits": {"data": {"source": "digits"}, "studies": studies}}})
        with pytest.raises(ConfigError, match=why):
            studies_of(config)["digits"].cost(methods_of(config), config)


def test_every_item_is_dealt_once_and_whole_chunks_go_to_one_process() -> None:
    config = validate({"data": {"batch_size": 3}, "studies": {"agreement": {}, "speed": {}}})
    items = plan(config, ["a", "b"], 13, studies_of(config))
    for todo in (items, items[5:], items[:2], items[:1], []):
        assert assign_to_ranks(todo, 1) == todo
        for processes in (2, 3, 8):
            turns = assign_to_ranks(todo, processes)
            assert sorted(map(repr, filter(None, turns))) == sorted(map(repr, todo))
            hands = [turns[i::processes] for i in range(processes)]
            assert len({len(hand) for hand in hands}) == 1  # nobody has nothing to do
            held = [{item.images for item in hand if item and item.study != "speed"} for hand in hands]
            if len({item.images for item in todo}) >= processes:
                assert sum(map(len, held)) == len(set().union(*held))


def test_cost_in_passes_by_hand() -> None:
    config = validate({"data": {"batch_size": 3}, "studies": {"agreement": {}}})
    text = passes(config, 2, 7, studies_of(config), methods_of(config))
    assert "1 forward + 2 backwards an image (chunks of 3)" in text
    assert "agreement: 4 forwards" in text
    # 7 images: shared 1 + 2, predictions 1 + 0, agreement's four library calls beside.
    agreement = studies_of(config)["agreement"].cost(methods_of(config), config)
    total = Cost(7 * (1 + 1 + agreement.forwards), 7 * (2 + agreement.backwards))
    assert f"in all: {total} on each of 2 networks" in text


def test_a_dry_run_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.config(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert tiny.main(monkeypatch, "run", path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "6 of 6 images, 8 items of work" in out
    assert "in all: 30 forwards + 30 backwards" in out
    assert sorted(tmp_path.rglob("*")) == before
