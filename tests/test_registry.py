"""Names resolve to what they say, by import or by source alone, and a clash with a built-in name is one line."""

import ast
import importlib.metadata

import pytest

from suite import registry
from suite.errors import ConfigError


@pytest.mark.parametrize("group", ["attributions", "metrics"])
def test_every_name_is_defined_where_its_line_says(group):
    for name, target in getattr(registry, group)().items():
        node = registry.definition(target)
        assert node is not None, name
        assert ast.get_docstring(node), name
        assert registry.load_object(target).__name__ == node.name


@pytest.mark.parametrize("target", ["suite.metrics.complexity:absent", "suite.absent:gini", "absent.of.all:gini"])
def test_what_is_not_there_has_no_definition(target):
    assert registry.definition(target) is None
    with pytest.raises(ConfigError, match=r"no module named|has no 'absent'"):
        registry.load_object(target)


@pytest.mark.parametrize(
    ("group", "name", "names"),
    [("suite.metrics", "gini", registry.metrics), ("suite.attribution", "saliency", registry.attributions)],
)
def test_an_entry_point_may_not_take_a_built_in_name(monkeypatch, group, name, names):
    points = importlib.metadata.EntryPoints([importlib.metadata.EntryPoint(name, "somebody:theirs", group)])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.select(group=group))
    registry._with_plugins.cache_clear()
    try:
        with pytest.raises(ConfigError, match=rf"entry point {group}: '{name}' is the name of a built-in"):
            names()
    finally:
        registry._with_plugins.cache_clear()
