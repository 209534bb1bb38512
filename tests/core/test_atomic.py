"""Files are written wholly or not at all."""

import pytest

from suite.core.atomic import replacing, write_bytes


def test_a_file_is_replaced_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_an_error_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "b.txt"
    write_bytes(path, b"old")

    def half_written():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        half_written()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["b.txt"]


def test_a_disk_error_names_the_file(tmp_path):
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(OSError, match=r"b\.txt"):
        write_bytes(tmp_path / "b.txt", b"data")
