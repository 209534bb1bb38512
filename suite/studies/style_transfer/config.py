"""The settings of the study."""

from typing import Any

from pydantic import Field, field_validator

from suite.settings import Part, StudySettings


class StylePairConfig(Part):
    """A photo and a painting: names in `paintings`, names of pictures that scikit-image ships, or files."""

    content: str
    style: str
    preset: str = Field("", description="of the painting; the painting's own name where that is one, else starry_night")
    parameters: dict[str, Any] = Field(default_factory=dict, description="instead of the preset's: steps, form, ...")


class StyleTransferConfig(StudySettings):
    """Photos painted as paintings, judged by held-out networks, and what that does to maps."""

    pairs: tuple[StylePairConfig, ...] = Field(
        tuple(
            StylePairConfig(content="tubingen", style=style)
            for style in ("composition_vii", "the_scream", "starry_night")
        ),
        min_length=1,
    )
    paintings: str = Field("", description="a folder of pictures named as the pairs name them; others stand in without")
    size: int = Field(192, ge=32, le=2048, description="pixels of the photo's shorter side")

    @field_validator("pairs")
    @classmethod
    def _different(cls, value: tuple[StylePairConfig, ...]) -> tuple[StylePairConfig, ...]:
        names = [(pair.content, pair.style) for pair in value]
        if len(set(names)) < len(names):
            raise ValueError("give each pair of a photo and a painting once")
        return value


CONFIG = StyleTransferConfig
