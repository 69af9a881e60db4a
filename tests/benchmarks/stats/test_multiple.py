"""Holm against statsmodels, and letters that two methods share if and only if their difference is not significant."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from statsmodels.stats.multitest import multipletests
from support.matrices import one_site

from fedsynth.benchmarks.stats import multiple
from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.multiple import decide, holm, pairwise, significance_letters
from fedsynth.benchmarks.stats.scores import Scores, StatsError

SOME = compare(one_site(np.random.default_rng(0).normal(size=(5, 4))))


def letters(methods: str, *differ: str) -> dict[str, str]:
    adjusted = np.ones((len(methods), len(methods)))
    for a, b in combinations(range(len(methods)), 2):
        adjusted[a, b] = adjusted[b, a] = 0.01 if methods[a] + methods[b] in differ else 0.5
    return dict(zip(methods, significance_letters(adjusted), strict=True))


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_holm_is_statsmodels(count: int) -> None:
    rng = np.random.default_rng(count)
    for p in (rng.uniform(0, 1, count), rng.uniform(0, 0.1, count), rng.choice([0, 0.01, 0.02, 0.05, 1], count)):
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-9)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]).tolist() == []
    with pytest.raises(StatsError, match="nan"):
        holm([0.1, np.nan])


def test_decisions_of_a_table() -> None:
    rng = np.random.default_rng(1)
    noise: Any = rng.normal(0, 0.2, (3, 5, 8))
    methods = {name: one_site(20 + gain + noise[i]) for i, (name, gain) in enumerate((("a", 1), ("b", 1), ("c", 0)))}
    found = pairwise(list(methods.values()))
    raw = [compare(methods[a].minus(methods[b])).p for a, b in combinations(methods, 2)]
    assert found[np.triu_indices(3, 1)] == pytest.approx(multipletests(raw, method="holm")[1], abs=1e-12)
    assert (found == found.T).all()
    assert found.diagonal().tolist() == [1, 1, 1]
    assert ((found < 0.05) == [[False, False, True], [False, False, True], [True, True, False]]).all()
    assert significance_letters(found) == ["a", "a", "b"]
    assert significance_letters(found[::-1, ::-1]) == ["a", "b", "b"]


def test_pairs_are_the_same_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    methods = [one_site(rng.normal(0.2 * number, 1, (5, 6))) for number in range(5)]
    whole = pairwise(methods)
    monkeypatch.setattr(multiple, "CHUNK", 1)
    assert pairwise(methods) == pytest.approx(whole, abs=1e-15)
    assert pairwise(methods[:1]).tolist() == [[1]]
    turned = [Scores(own.seeds, own.columns[::-1], own.values[:, ::-1]) for own in methods[1:]]
    assert pairwise([methods[0], *turned]) == pytest.approx(whole, abs=1e-12)


def test_few_seeds_take_no_part() -> None:
    few = compare(one_site(np.random.default_rng(2).normal(5, 0.1, (4, 6))))
    found = decide({"few": few, "enough": SOME})
    assert (found["few"].adjusted, found["few"].significant) == (None, None)
    assert found["enough"].adjusted == SOME.p
    with pytest.raises(StatsError, match="4 seeds; below 5 no significance is drawn"):
        pairwise([one_site(np.zeros((4, 6)))] * 2)
    with pytest.raises(StatsError, match="same seeds"):
        pairwise([one_site(np.zeros((5, 6))), one_site(np.zeros((6, 6)))])


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
