"""A study is one folder: `config.py` (settings), `study.py` (work), `report.py` (its section), and what is its own.

`suite.registry.STUDIES` has one line a study. `config.py` and `report.py` never import torch, and no study imports
from another's folder: what several need stands in `base.py`, `randomised.py`, or below the studies.
"""
