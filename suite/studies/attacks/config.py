"""The settings of the study."""

from pydantic import Field, field_validator

from suite.settings import MethodConfig, Number, StudySettings


class AttacksConfig(StudySettings):
    """How easily the network is fooled, whether the attack is sound, and whether the maps notice."""

    methods: tuple[MethodConfig, ...] = Field(
        (
            MethodConfig(name="fgsm"),
            MethodConfig(name="pgd", parameters={"early_stop": True}),
            MethodConfig(name="pgd_l2", parameters={"early_stop": True}),
        ),
        min_length=1,
        description="attacks that take an epsilon; noise of the same size is added as a control",
    )
    epsilons: tuple[Number, ...] = (0, *(e / 255 for e in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)))
    epsilons_l2: tuple[Number, ...] = (0, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 100)
    at: Number = Field(1 / 255, gt=0, le=1, description="epsilon of transfer, maps, targets, agreement and the audit")
    targets: tuple[str, ...] = Field((), description="classes to aim at, by name, index or synset id")
    minimal: bool = Field(True, description="the smallest epsilon a photo, by bisection")
    agreement: bool = Field(True, description="torchattacks beside ours")
    noise_draws: int = Field(20, ge=1, description="draws of noise a photo and epsilon, of which the share that fools")
    limits: bool = Field(True, description="the fooling image's step swept, and gone on past success")
    audit: bool = True

    @field_validator("epsilons", "epsilons_l2")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(e < 0 for e in value) or list(value) != sorted(set(value)):
            raise ValueError("give radii of at least 0, ascending")
        return value

    @field_validator("epsilons")
    @classmethod
    def _in_pixels(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(e > 1 for e in value):
            raise ValueError(f"{max(value):g}: pixels are in [0, 1], so at most 1; did you mean {max(value):g}/255?")
        return value


CONFIG = AttacksConfig
