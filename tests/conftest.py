"""What all tests share: torchvision importable whatever torch is here, no windows, and the same examples each time."""

import suite._torchvision  # noqa: F401 - tests import captum, torchattacks and timm, which import torchvision

import os

import hypothesis
from forked import zygote  # noqa: F401 - a fixture

os.environ.setdefault("MPLBACKEND", "Agg")
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None, max_examples=60)
hypothesis.settings.load_profile("suite")
