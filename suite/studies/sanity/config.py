"""The settings of the study."""

from typing import Literal, get_args

from pydantic import Field, model_validator

from suite.sanity.settings import AuditSettings
from suite.sanity.verdict import CELL
from suite.settings import Number, StudySettings

Order = Literal["cascade_top", "cascade_bottom", "independent"]


class SanityConfig(StudySettings):
    """Weight randomisation: does the map depend on what the network learned?"""

    orders: tuple[Order, ...] = get_args(Order)
    stages: Literal["all", "verdict"] = Field("all", description="verdict: top block, upper half, everything, almost")
    unit: Literal["block", "layer"] = "block"
    blocks: tuple[str, ...] = Field((), description="modules that are the blocks; found by architecture by default")
    draws: int = Field(10, ge=1, description="random networks; fewer than 3 decide nothing")
    noise: Number = Field(0.0112, gt=0, description="standard deviation of e, in pixel units [0, 1]")
    noise_factors: tuple[Number, ...] = Field((0.5, 1, 2, 4), description="times `noise`, for the stability")
    cells: tuple[int, ...] = Field((1, 4, 8, 16), description="pixels averaged before maps are compared; 4 is judged")
    batch_norm: Literal["kept", "reset"] = Field("kept", description="running statistics of randomised blocks")
    score: Literal["before_last_rectifier", "as_is"] = "before_last_rectifier"
    target: Literal["label", "top"] = "label"
    random_logit: bool = Field(True, description="also explain another class's score with the intact network")
    smoothed: int = Field(0, ge=0, description="noisy copies a map for sMPRT; 0 leaves it out")

    @model_validator(mode="after")
    def _judged(self) -> "SanityConfig":
        if "cascade_top" not in self.orders:
            raise ValueError("orders: cascade_top is what the verdict rests on; leave it in")
        if 1 not in self.noise_factors or CELL not in self.cells:
            raise ValueError("noise_factors must hold 1 and cells 4: the verdict is worked out there")
        return self

    def audit(self, seed: int) -> AuditSettings:
        """How the study's audits compare maps."""
        return AuditSettings(seed, self.noise, self.noise_factors, self.cells, self.batch_norm, self.smoothed)


CONFIG = SanityConfig
