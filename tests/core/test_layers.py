"""Layers by name, and the default target layer."""

import networks as nets
from networks import pictures, seeded
from raises import one_line

from suite.core.layers import default_layer, layer_names
from suite.errors import NotApplicable


def test_layers_are_listed_and_the_default_is_the_last_map():
    net = seeded(nets.Conv)
    assert layer_names(net) == ["conv", "norm", "act", "drop", "last"]
    assert default_layer(net, pictures()) == "last"
    one_line(lambda: default_layer(seeded(nets.Linear), pictures()), "no layer of this network", NotApplicable)
