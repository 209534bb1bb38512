"""The settings of the study."""

from typing import Any

from pydantic import Field, field_validator, model_validator

from suite.settings import Part, StudySettings


class PictureConfig(Part):
    """What a picture is to be of. A bare string in the YAML is its `target`; a photo is an id, a label, or a path."""

    target: str = Field("", description="a class by name, index or synset id")
    layer: str = Field("", description="instead of a class")
    channel: int | None = Field(None, ge=0, description="of the layer")
    position: tuple[int, int] | None = Field(None, description="row and column of one neuron of the channel")
    like: str = Field("", description="a photo whose output of the layer is to be met: feature inversion")
    start: str = Field("", description="a photo to begin from, instead of noise")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"target": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_thing(self) -> "PictureConfig":
        if bool(self.target) == bool(self.layer):
            raise ValueError("a picture is of a class or of a layer: give `target` or `layer`")
        return self

    @property
    def title(self) -> str:
        """The picture's name in rows."""
        parts = [self.target or self.layer, *([f"channel {self.channel}"] if self.channel is not None else [])]
        parts += [f"at {self.position[0]}, {self.position[1]}"] if self.position else []
        return " ".join([*parts, *(f"{word} {photo}" for word in ("like", "start") if (photo := getattr(self, word)))])


class JobConfig(Part):
    """Pictures that are made as one batch: each of `pictures` in each of `variants` and with each of `seeds`."""

    name: str = Field(min_length=1)
    pictures: tuple[PictureConfig, ...] = Field(min_length=1)
    preset: str = "cs231n"
    recipe: dict[str, Any] = Field(default_factory=dict, description="fields of the preset that are to be others")
    variants: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> fields of the recipe, or another `preset`; the first is the measure"
    )
    seeds: int = Field(1, ge=1, description="of noise and jitter, from the run's own upwards")
    snapshots: tuple[int, ...] = Field((), description="iterations after which pictures are kept and scored too")
    networks: tuple[str, ...] = Field((), description="by title; all by default")


class VisualizationConfig(StudySettings):
    """What the network looks for: class visualisation, a job a batch."""

    jobs: tuple[JobConfig, ...] = Field(
        (JobConfig(name="recipes", pictures=(PictureConfig(target="gorilla"), PictureConfig(target="snail"))),),
        min_length=1,
    )

    @field_validator("jobs")
    @classmethod
    def _distinct(cls, value: tuple[JobConfig, ...]) -> tuple[JobConfig, ...]:
        lists = [("jobs", [job.name for job in value])]
        for job in value:
            lists.append((job.name, [picture.title for picture in job.pictures]))
        for what, names in lists:
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} appears twice")
        return value


CONFIG = VisualizationConfig
