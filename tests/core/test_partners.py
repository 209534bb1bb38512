"""Partners are of another class, in every study that pairs photos."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.core.partners import NO_PARTNER, distinct_groups, partners


def test_the_next_photo_of_another_class():
    assert partners(["a", "a", "b", "c"]) == [2, 2, 3, 0]


def test_turns_go_round_all_strangers():
    assert [partners(["a", "b", "c", "a"], turn)[0] for turn in range(4)] == [1, 2, 1, 2]


@pytest.mark.parametrize("classes", [[], ["a"], ["a", "a", "a"]])
def test_a_chunk_of_one_class_has_no_partners(classes):
    assert partners(classes) == [NO_PARTNER] * len(classes)


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(0, 20))
def test_partners_are_never_of_the_same_class(classes, turn):
    for i, j in enumerate(partners(classes, turn)):
        assert classes[j] != classes[i] if j != NO_PARTNER else len(set(classes)) == 1


@given(st.lists(st.integers(0, 5), max_size=16), st.integers(1, 4))
def test_groups_hold_different_classes_and_no_photo_twice(classes, size):
    groups = distinct_groups(classes, size)
    places = [i for group in groups for i in group]
    assert len(places) == len(set(places))
    assert all(len({classes[i] for i in group}) == size == len(group) for group in groups)


def test_groups_are_as_many_as_can_be_had():
    assert len(distinct_groups(["a", "a", "a", "b", "c", "d"], 2)) == 3
