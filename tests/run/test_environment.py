"""What run.json says of the machine and the checkout."""

import os
import platform
import subprocess
from importlib.metadata import version

import torch

from suite.run import environment
from suite.run.environment import commit, hardware, versions


def test_versions_are_those_installed_and_none_where_a_package_is_absent(monkeypatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package"))
    assert versions() == {"python": platform.python_version(), "numpy": version("numpy"), "no-such-package": None}


def test_hardware_names_the_machine_and_no_host() -> None:
    seen = hardware()
    assert (seen["cores"], seen["threads"]) == (os.cpu_count(), torch.get_num_threads())
    assert seen["accelerator"] == (torch.cuda.get_device_name(0) if torch.cuda.is_available() else None)
    assert platform.node() not in [value for value in seen.values() if value]


def test_the_commit_says_whether_the_checkout_differs_from_it(tmp_path, monkeypatch) -> None:
    (tmp_path / "suite" / "run").mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "suite" / "run" / "environment.py"))
    assert commit() is None  # no checkout
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("first")
    for words in (["init", "-q"], ["add", "file"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    clean = commit()
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "file").write_text("second")
    assert commit() == f"{clean}+changes"
