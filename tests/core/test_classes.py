"""Class names: every class is found by index, synset and name; what is ambiguous or unknown is an error of one line."""

import suite._torchvision  # noqa: F401

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.core.classes import ClassNames
from suite.errors import DataError

IMAGENET = ClassNames.imagenet()


def message(names: ClassNames, target: int | str) -> str:
    with pytest.raises(DataError) as caught:
        names.resolve(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_equals_torchvision_and_timm():
    from torchvision.models import SqueezeNet1_1_Weights

    info = pytest.importorskip("timm.data", reason="timm is not installed").ImageNetInfo()
    assert list(IMAGENET.names) == SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    assert IMAGENET.synsets is not None
    assert IMAGENET.terms is not None
    assert list(IMAGENET.synsets) == [info.index_to_label_name(index) for index in range(1000)]
    assert [", ".join(terms) for terms in IMAGENET.terms] == [info.index_to_description(i) for i in range(1000)]


@given(st.integers(0, 999))
def test_every_index_and_synset_is_itself(index: int):
    assert IMAGENET.synsets is not None
    assert IMAGENET.resolve(index) == IMAGENET.resolve(f" {index}") == index
    assert IMAGENET.resolve(IMAGENET.synsets[index]) == index
    assert IMAGENET.name(index) == IMAGENET.names[index]


def test_every_name_but_the_two_that_wordnet_gives_twice_is_itself():
    refused = []
    for index, name in enumerate(IMAGENET.names):
        try:
            found = {IMAGENET.resolve(name), IMAGENET.resolve(name.replace(" ", "_"))}
        except DataError:
            refused.append(index)
        else:
            assert found == {index}
    assert [IMAGENET.names[index] for index in refused] == ["crane", "maillot"]


@pytest.mark.parametrize(
    ("target", "index"),
    [
        ("snail", 113),
        ("SNAIL", 113),
        ("tibetan_mastiff", 244),
        ("crane bird", 134),
        ("grey wolf", 269),
        ("Cardigan", 264),  # the corgi, as written
        ("cardigan", 474),  # the garment, as written
        ("harp", 594),  # another term of harmonica too, but the harp's own name
    ],
)
def test_names(target: str, index: int):
    assert IMAGENET.resolve(target) == index


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("crane", ["134", "517", "crane bird", "index"]),
        ("maillot", ["638", "639"]),
        ("CARDIGAN", ["264", "474"]),
        ("panther", ["286", "290"]),
        (1000, ["1000", "0..999"]),
        (-1, ["-1", "0..999"]),
        ("1000", ["0..999"]),
        ("-3", ["0..999"]),
        (True, ["True"]),
        ("snial", ["'snial'", "did you mean", "'snail'"]),
        ("n01944391", ["n01944391", "synset"]),
        ("", ["''"]),
        ("a\nb", [r"'a\nb'"]),
        ("²", ["'²'"]),
        ("9" * 5000, ["is not a class"]),
    ],
)
def test_what_is_refused_names_the_thing(target: int | str, named: list[str]):
    said = message(IMAGENET, target)
    assert all(part in said for part in named), said


def test_indices():
    names = ClassNames.indices(3)
    assert len(names) == 3
    assert names.resolve("2") == 2
    assert names.name(2) == "2"
    assert "0..2" in message(names, 3)
    assert "synset" not in message(names, "n01944390")
    with pytest.raises(DataError, match="out of range"):
        names.name(-1)
    with pytest.raises(DataError, match="at least one class"):
        ClassNames.indices(0)


def test_from_file(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffsea cow\r\nÉlan\r\nsea cow\r\n7\r\n\r\n".encode())
    names = ClassNames.from_file(path)
    assert names.names == ("sea cow", "Élan", "sea cow", "7")
    assert names.synsets is None
    assert names.resolve("élan") == 1
    assert all(part in message(names, "sea_cow") for part in ("0", "2", "index"))
    assert names.resolve(3) == 3
    assert names.resolve("7") == 3  # no class 7, one named so
    assert "out of range" in message(names, 7)


def test_a_digit_that_is_one_class_by_name_and_another_by_index_is_ambiguous(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_text("1\n0\n2")
    names = ClassNames.from_file(path)
    assert names.resolve("2") == 2
    assert "0 (1), 1 (0)" in message(names, "1")


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "it is empty"), (b"\n\n", "it is empty"), (b"a\n\nb", "line 2"), (b"\xff\xfe", "UTF-8")]
)
def test_a_bad_names_file_is_one_line(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        ClassNames.from_file(path)
    assert "names.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_names_file_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        ClassNames.from_file(tmp_path / "absent")


def test_names_are_frozen_and_travel_between_processes():
    assert IMAGENET.resolve("snail") == 113
    with pytest.raises(AttributeError):
        IMAGENET.names = ()  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(IMAGENET)) == IMAGENET


def test_names_and_sources_import_no_torch_no_pil_no_foolbox():
    code = (
        "import sys; from suite.core.classes import ClassNames; from suite.data.sources import list_images;"
        "list_images('embedded', classes=ClassNames.imagenet());"
        "print([name for name in ('torch', 'PIL', 'foolbox', 'scipy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
