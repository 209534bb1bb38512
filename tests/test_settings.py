"""What sections of a configuration are built of: fractions, frozen sections that refuse, methods from bare names."""

from math import inf, nan

import pytest
from pydantic import ValidationError

from suite.errors import ConfigError
from suite.settings import MethodConfig, Number, Part, StudySettings, parse_number


class Radii(Part):
    radius: Number = 0.0


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), (" 1 / 4 ", 0.25), ("0.03", 0.03), ("-1/2", -0.5)])
def test_a_fraction_is_a_number_in_a_yaml_and_on_the_command_line(text, value) -> None:
    assert parse_number("--epsilon", text) == Radii(radius=text).radius == value


@pytest.mark.parametrize("text", ["8/0", "1/2/3", "x", "", "4/"])
def test_what_is_no_number_is_one_line(text) -> None:
    with pytest.raises(ConfigError, match=r"--epsilon .*: expected a number such as 4/255"):
        parse_number("--epsilon", text)
    with pytest.raises(ValidationError):
        Radii(radius=text)


@pytest.mark.parametrize("wrong", [{"radius": nan}, {"radius": inf}, {"radios": 1}])
def test_a_section_refuses_what_it_does_not_know_and_what_is_not_finite(wrong) -> None:
    with pytest.raises(ValidationError):
        Radii(**wrong)
    with pytest.raises(ValidationError, match="frozen"):
        Radii().radius = 1
    assert StudySettings().networks == ()


def test_a_method_is_a_bare_name_or_a_mapping_with_its_parameters_flat() -> None:
    assert MethodConfig.model_validate("saliency") == MethodConfig(name="saliency")
    flat = MethodConfig.model_validate({"name": "smoothgrad", "label": "sg", "samples": 2})
    assert flat == MethodConfig(name="smoothgrad", label="sg", parameters={"samples": 2})
    assert MethodConfig.model_validate({"name": "x", "parameters": {"name": 1}}).parameters == {"name": 1}
    assert [flat.title, MethodConfig(name="saliency").title] == ["sg", "saliency"]
