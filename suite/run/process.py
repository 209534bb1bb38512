"""Whether this process is the first of several, by the variables that launchers set. No torch."""

import os

_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")


def is_first() -> bool:
    """Whether this process is the one that writes the manifest, the report and the terminal.

    Lightning's launcher sets LOCAL_RANK and NODE_RANK, torchrun RANK and GROUP_RANK, SLURM SLURM_PROCID.
    """
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
