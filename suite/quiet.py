"""Silences what Lightning and Captum say about what is meant. No torch."""

import logging
import warnings


def quiet() -> None:
    """Silences what Lightning and Captum say about what is meant."""
    warnings.filterwarnings("ignore", message=".*You have overridden `transfer_batch_to_device`.*")
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*required_grads has been set automatically.*")
    warnings.filterwarnings("ignore", message=".*Setting backward hooks on ReLU activations.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.` is deprecated.*")
