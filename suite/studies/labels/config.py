"""The settings of the study."""

from pydantic import Field

from suite.sanity.settings import AuditSettings
from suite.settings import Number, StudySettings


class LabelsConfig(StudySettings):
    """Label randomisation: the same network, trained on permuted labels; networks of suite.training alone."""

    seeds: int = Field(3, ge=1, description="pairs of trainings; fewer than 3 decide nothing")
    count: int = Field(0, ge=0, description="pictures the permuted network learns; as many as the other by default")
    against: tuple[str, ...] = Field((), description="other architectures, whose maps of a photo are compared too")
    noise: Number = Field(0.0112, gt=0, description="standard deviation of e, in pixel units [0, 1]")
    noise_factors: tuple[Number, ...] = (0.5, 1, 2, 4)
    cells: tuple[int, ...] = (1, 4)

    def audit(self, seed: int) -> AuditSettings:
        """How the study's audits compare maps."""
        return AuditSettings(seed, self.noise, self.noise_factors, self.cells)


CONFIG = LabelsConfig
