"""What sections of a configuration are built of; a study's settings (`suite/studies/*/config.py`) stand on this."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from suite.errors import ConfigError


def _fraction(value: object) -> object:
    """Reads `8/255` as a number; everything else is left to pydantic."""
    if isinstance(value, str) and "/" in value:
        try:
            over, under = value.split("/")
            return float(Fraction(over.strip()) / Fraction(under.strip()))
        except (ValueError, ZeroDivisionError):
            return value
    return value


def parse_number(what: str, text: str) -> float:
    """`8/255` or `0.03` from a command line."""
    try:
        return float(_fraction(text))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"{what} {text!r}: expected a number such as 4/255 or 0.02") from None


Number = Annotated[float, BeforeValidator(_fraction)]
Side = Annotated[int, Field(ge=1, le=10_000)]  # pixels


class Part(BaseModel):
    """A frozen section, which refuses keys that it does not know, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StudySettings(Part):
    """What every study takes."""

    networks: tuple[str, ...] = Field((), description="by title; all by default")


class MethodConfig(Part):
    """A method, its label in the rows, and its parameters. A bare string in the YAML is its `name`."""

    name: str
    label: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "parameters" not in value:
            rest = {k: v for k, v in value.items() if k not in ("name", "label")}
            return {k: v for k, v in value.items() if k in ("name", "label")} | {"parameters": rest}
        return value

    @property
    def title(self) -> str:
        """The method's name in rows."""
        return self.label or self.name
