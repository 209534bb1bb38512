"""The environment of a run: versions, hardware, commit. Read once, written to run.json, never to rows."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

_PACKAGES = ("torch", "torchvision", "captum", "torchattacks", "pytorch-lightning", "numpy", "pandas", "saliency-suite")
_DRIVER = Path("/sys/module/nvidia/version")


def versions() -> dict[str, str | None]:
    """Installed versions; None where a package is absent."""
    installed: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = None
    return installed


def hardware() -> dict[str, str | int | None]:
    """Processor, cores, memory and accelerator; no host name."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30) if pages else None,
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "driver": _DRIVER.read_text(encoding="ascii").strip() if _DRIVER.is_file() else None,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
    }


def _processor() -> str | None:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def commit() -> str | None:
    """The project's commit, with "+changes" where the checkout differs from it; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
