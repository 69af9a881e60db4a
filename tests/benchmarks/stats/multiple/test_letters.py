"""Letters that two methods share if and only if they are not shown to differ."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fedsynth.benchmarks.stats.multiple.letters import significance_letters
from fedsynth.benchmarks.stats.scores import StatsError


def letters(methods: str, *differ: str) -> dict[str, str]:
    adjusted = np.ones((len(methods), len(methods)))
    for a, b in combinations(range(len(methods)), 2):
        adjusted[a, b] = adjusted[b, a] = 0.01 if methods[a] + methods[b] in differ else 0.5
    return dict(zip(methods, significance_letters(adjusted), strict=True))


def test_letters_by_hand() -> None:
    assert letters("xyz") == {"x": "a", "y": "a", "z": "a"}
    assert letters("xyz", "xz") == {"x": "a", "y": "ab", "z": "b"}
    assert letters("xyz", "xy", "xz", "yz") == {"x": "a", "y": "b", "z": "c"}
    assert letters("wxyz", "wx", "yz") == {"w": "ab", "x": "cd", "y": "ac", "z": "bd"}
    assert letters("x") == {"x": "a"}


@given(st.integers(2, 7), st.data())
def test_a_letter_is_shared_if_and_only_if_the_difference_is_not_significant(count: int, data: st.DataObject) -> None:
    methods = "stuvwxyz"[:count]
    differ = data.draw(st.sets(st.sampled_from(["".join(pair) for pair in combinations(methods, 2)])))
    found = letters(methods, *differ)
    for a, b in combinations(methods, 2):
        assert bool(set(found[a]) & set(found[b])) == (a + b not in differ)
    assert "a" in found[methods[0]]
    used = sorted(set("".join(found.values())))
    holders = [{method for method in methods if letter in found[method]} for letter in used]
    assert not any(one <= other for one in holders for other in holders if one is not other)


def test_too_many_groups_for_letters() -> None:
    adjusted = np.eye(53)
    with pytest.raises(StatsError, match="53 groups of 53 methods, but 52 letters"):
        significance_letters(adjusted)
    assert len(set(significance_letters(adjusted[1:, 1:]))) == 52
