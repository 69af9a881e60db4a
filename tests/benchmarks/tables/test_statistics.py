"""Statistics of rows against the functions that define them: intervals, gains, groups and gaps; few seeds: no significance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.multiple.family import Family
from fedsynth.benchmarks.stats.multiple.letters import significance_letters
from fedsynth.benchmarks.stats.scores import Floats, Key, Scores
from fedsynth.benchmarks.tables.statistics import Contender, RowStatistics, table_statistics

COLUMNS: tuple[Key, ...] = tuple((site, "T1->T2", f"{number}") for site in ("a", "b") for number in range(4))


def scores(level: float, stream: int, seeds: int = 5, spread: float = 0.2) -> Scores:
    """Four subjects at two sites, `spread` around `level`."""
    noise: Floats = np.random.default_rng(stream).normal(0, spread, (seeds, len(COLUMNS)))
    return Scores(tuple(range(seeds)), COLUMNS, level + noise)


def statistics(rows: list[Contender]) -> list[RowStatistics]:
    found = table_statistics(rows)
    assert found.reasons == ()
    return [row for row in found.rows if row is not None]


def test_the_interval_of_a_score_worked_by_hand() -> None:
    # One site, subjects 1, 2, 3, the second seed 0.5 higher: no residual, so variance = 0.125 / 2 + 1 / 3.
    values = np.array([[1.0, 2, 3], [1.5, 2.5, 3.5]])
    (own,) = statistics([Contender(Scores((0, 1), tuple(("a", "x", name) for name in "123"), values))])
    seeds, subjects = 0.125 / 2, 1 / 3
    freedom = (seeds + subjects) ** 2 / (seeds**2 / 1 + subjects**2 / 2)
    assert own.margin == pytest.approx(stats.t.ppf(0.975, freedom) * (seeds + subjects) ** 0.5)


def test_two_families_are_decided_each_on_its_own() -> None:
    levels = [21.0, 20.2, 20.0, 19.5]  # the third is `local`, the last `fedavg`
    rows = [
        Contender(scores(level, number), None if number == 2 else 2, None if number == 3 else 3)
        for number, level in enumerate(levels)
    ]
    found = table_statistics(rows)
    matrices = [row.scores for row in rows if row.scores]
    family = Family.of(matrices)
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (3, 2)]
    gains = family.decide(pairs)
    for (one, other), margin, p in zip(gains.pairs, gains.margin, gains.p, strict=True):
        row = found.rows[one]
        assert row
        own = row.gain if other == 2 else row.over_fedavg
        plain = compare(matrices[one].minus(matrices[other]))
        assert own
        assert own.comparison == plain
        assert (own.low, own.high) == pytest.approx((plain.difference - margin, plain.difference + margin))
        assert (own.adjusted, own.significant) == (p, p < 0.05)
    assert found.rows[2]
    assert found.rows[2].gain is None
    every = family.decide(list(combinations(range(4), 2)))
    assert found.pairs
    assert found.pairs.rows == (0, 1, 2, 3)
    assert found.pairs.adjusted[np.triu_indices(4, 1)].tolist() == every.p.tolist()
    assert (found.pairs.adjusted == found.pairs.adjusted.T).all()
    assert found.pairs.low[0, 1] == -found.pairs.high[1, 0] == every.difference[0] - every.margin[0]
    assert ((found.pairs.adjusted < 0.05) == found.pairs.significant).all()
    assert [row.letters for row in found.rows if row] == significance_letters(found.pairs.adjusted)


def test_a_gain_that_a_pair_contradicts_is_impossible_within_a_family() -> None:
    """A decision is significant where the interval of its family excludes 0, and nowhere else."""
    rows = [Contender(scores(20 + 0.06 * number, number), None if number == 0 else 0) for number in range(10)]
    found = table_statistics(rows)
    decisions = [row.gain for row in found.rows if row and row.gain]
    alone = [own.comparison.p is not None and own.comparison.p < 0.05 for own in decisions]
    assert {*zip(alone, (own.significant for own in decisions), strict=True)} == {
        (False, False),
        (True, False),  # significant if it were the only one
        (True, True),
    }
    for own in decisions:
        assert own.low is not None
        assert own.high is not None
        assert own.significant == (own.low > 0 or own.high < 0)
    assert found.pairs
    outside = (found.pairs.low > 0) | (found.pairs.high < 0)
    assert (outside == found.pairs.significant).all()


def test_ablations_and_equal_rows_leave_the_families() -> None:
    """Their differences have an interval of their own and no significance, and they do not count among those tested."""
    plain = [Contender(scores(20 + number, number), None if number == 0 else 0) for number in range(3)]
    more = [Contender(scores(25, 7), 0, leaves="ablation"), Contender(scores(20, 0), 0), Contender(scores(22, 2), 0)]
    alone, found = table_statistics(plain), table_statistics([*plain, *more])
    assert found.left == {3: "ablation", 4: "equals row 1 to the bit", 5: "equals row 3 to the bit"}
    assert found.pairs
    assert alone.pairs
    assert found.pairs.rows == (0, 1, 2)
    assert (found.pairs.adjusted == alone.pairs.adjusted).all()
    assert found.rows[1:3] == alone.rows[1:3]
    for row in found.rows[3:]:
        assert row
        assert row.gain
        assert (row.gain.adjusted, row.gain.significant, row.gain.low, row.letters) == (None, None, None, "")
    assert found.pairs.decision(compare(scores(0, 0)), 0, 3).significant is None


@pytest.mark.parametrize(
    ("pooled", "seeds", "clear"), [(21.0, 5, True), (20.0, 5, False), (19.0, 5, False), (21.0, 4, False)]
)
def test_the_gap_is_told_only_where_pooled_is_clearly_better(pooled: float, seeds: int, clear: bool) -> None:
    rows = [Contender(scores(20.5, 1, seeds), 1, None, 2), Contender(scores(20.0, 2, seeds), None, None, 2)]
    rows.append(Contender(scores(pooled, 3, seeds), 1))
    own, local, _ = statistics(rows)
    assert local.closed is None
    if not clear:
        assert own.closed is None
        return
    means = [float(np.mean(row.scores.values)) for row in rows if row.scores]
    assert own.closed == pytest.approx((means[0] - means[1]) / (means[2] - means[1]))


def test_few_seeds_have_intervals_and_nothing_else() -> None:
    found = statistics([Contender(scores(21, 1, 4), 1), Contender(scores(20, 2, 4))])
    assert [row.letters for row in found] == ["", ""]
    assert found[0].gain is not None
    assert found[0].gain.adjusted is None
    assert all(row.margin is not None for row in found)


def test_one_seed_has_no_interval() -> None:
    (own, *_) = statistics([Contender(scores(21, 1, 1), 1), Contender(scores(20, 2, 1))])
    assert (own.margin, own.gain, own.letters) == (None, None, "")
    assert own.reliability.worst_site in ("a", "b")


def test_rows_with_holes_take_no_part() -> None:
    found = table_statistics([Contender(scores(21, 1), 2), Contender(None, 2), Contender(scores(20, 2))])
    assert found.rows[1] is None
    assert [row.letters for row in found.rows if row] == ["a", "b"]
    assert found.pairs
    assert found.pairs.rows == (0, 2)
    assert table_statistics([Contender(None)]).rows == (None,)


def test_a_site_with_one_subject_is_told() -> None:
    lonely = Scores((0, 1), (("a", "x", "1"), ("b", "x", "1"), ("b", "x", "2")), np.ones((2, 3)))
    found = table_statistics([Contender(lonely)])
    assert found.rows[0] is not None
    assert found.rows[0].margin is None
    assert found.reasons == (
        "No intervals: site a has 1 test subject for x: its spread over subjects is unknown; 2 are needed.",
    )


def test_letters_are_for_six_methods_at_most() -> None:
    for count in (6, 7):
        found = statistics([Contender(scores(100.0 - number // 2, number, spread=0.01)) for number in range(count)])
        assert [row.letters for row in found] == ([*"aabbcc"] if count == 6 else [""] * 7)


def test_rows_on_unequal_subjects_draw_no_significance() -> None:
    short = scores(20, 2)
    found = table_statistics(
        [Contender(scores(21, 1)), Contender(Scores(short.seeds, COLUMNS[1:], short.values[:, 1:]))]
    )
    assert found.pairs is None
    assert found.reasons[0].startswith("No significance is drawn: only one method has a score of ('a', 'T1->T2', '0')")
