"""Statistics of rows against the functions that define them: intervals, gains, groups and gaps; few seeds: no significance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedsynth.benchmarks.stats.compare import compare
from fedsynth.benchmarks.stats.multiple import holm, pairwise, significance_letters
from fedsynth.benchmarks.stats.scores import Floats, Key, Scores
from fedsynth.benchmarks.tables.statistics import Contender, RowStatistics, row_statistics

COLUMNS: tuple[Key, ...] = tuple((site, "T1->T2", f"{number}") for site in ("a", "b") for number in range(4))


def scores(level: float, stream: int, seeds: int = 5, spread: float = 0.2) -> Scores:
    """Four subjects at two sites, `spread` around `level`."""
    noise: Floats = np.random.default_rng(stream).normal(0, spread, (seeds, len(COLUMNS)))
    return Scores(tuple(range(seeds)), COLUMNS, level + noise)


def statistics(rows: list[Contender]) -> list[RowStatistics]:
    found, reasons = row_statistics(rows)
    assert reasons == []
    return [row for row in found if row is not None]


def test_the_interval_of_a_score_worked_by_hand() -> None:
    # One site, subjects 1, 2, 3, the second seed 0.5 higher: no residual, so variance = 0.125 / 2 + 1 / 3.
    values = np.array([[1.0, 2, 3], [1.5, 2.5, 3.5]])
    (own,) = statistics([Contender(Scores((0, 1), tuple(("a", "x", name) for name in "123"), values), None, None)])
    seeds, subjects = 0.125 / 2, 1 / 3
    freedom = (seeds + subjects) ** 2 / (seeds**2 / 1 + subjects**2 / 2)
    assert own.margin == pytest.approx(stats.t.ppf(0.975, freedom) * (seeds + subjects) ** 0.5)


def test_gains_are_those_over_the_local_row_corrected_for_all_of_them() -> None:
    levels = [21.0, 20.2, 20.0, 19.5]  # the third is `local`
    rows = [Contender(scores(level, index), None if index == 2 else 2, None) for index, level in enumerate(levels)]
    found = statistics(rows)
    matrices = [row.scores for row in rows if row.scores]
    raw = [compare(matrices[index].minus(matrices[2])) for index in (0, 1, 3)]
    assert [row.gain and row.gain.comparison for row in found] == [*raw[:2], None, raw[2]]
    adjusted = holm([own.p for own in raw if own.p is not None])
    assert [row.gain.adjusted for row in found if row.gain] == pytest.approx(adjusted)
    assert [row.letters for row in found] == significance_letters(pairwise(matrices))
    assert found[0].letters == "a"
    assert found[3].letters not in ("", "a")


@pytest.mark.parametrize(
    ("pooled", "seeds", "clear"), [(21.0, 5, True), (20.0, 5, False), (19.0, 5, False), (21.0, 4, False)]
)
def test_the_gap_is_told_only_where_pooled_is_clearly_better(pooled: float, seeds: int, clear: bool) -> None:
    rows = [Contender(scores(20.5, 1, seeds), 1, 2), Contender(scores(20.0, 2, seeds), None, 2)]
    rows.append(Contender(scores(pooled, 3, seeds), 1, None))
    own, local, _ = statistics(rows)
    assert local.closed is None
    if not clear:
        assert own.closed is None
        return
    means = [float(np.mean(row.scores.values)) for row in rows if row.scores]
    assert own.closed == pytest.approx((means[0] - means[1]) / (means[2] - means[1]))


def test_few_seeds_have_intervals_and_nothing_else() -> None:
    found = statistics([Contender(scores(21, 1, 4), 1, None), Contender(scores(20, 2, 4), None, None)])
    assert [row.letters for row in found] == ["", ""]
    assert found[0].gain is not None
    assert found[0].gain.adjusted is None
    assert all(row.margin is not None for row in found)


def test_one_seed_has_no_interval() -> None:
    (own, *_) = statistics([Contender(scores(21, 1, 1), 1, None), Contender(scores(20, 2, 1), None, None)])
    assert (own.margin, own.gain, own.letters) == (None, None, "")
    assert own.reliability.worst_site in ("a", "b")


def test_rows_with_holes_take_no_part() -> None:
    rows = [Contender(scores(21, 1), 2, None), Contender(None, 2, None), Contender(scores(20, 2), None, None)]
    found, _ = row_statistics(rows)
    assert found[1] is None
    assert [row.letters for row in found if row] == ["a", "b"]
    assert row_statistics([Contender(None, None, None)]) == ([None], [])


def test_a_site_with_one_subject_is_told() -> None:
    lonely = Scores((0, 1), (("a", "x", "1"), ("b", "x", "1"), ("b", "x", "2")), np.ones((2, 3)))
    found, reasons = row_statistics([Contender(lonely, None, None)])
    assert found[0] is not None
    assert found[0].margin is None
    assert reasons == [
        "No intervals: site a has 1 test subject for x: its spread over subjects is unknown; 2 are needed."
    ]


def test_rows_that_are_the_same_share_a_letter() -> None:
    same = scores(20, 1)
    found = statistics([Contender(same, 1, None), Contender(same, None, None)])
    assert [row.letters for row in found] == ["a", "a"]
    assert found[0].gain is not None
    assert found[0].gain.adjusted == 1


def test_where_letters_do_not_suffice_the_first_group_is_shown() -> None:
    rows = [Contender(scores(100.0 - number // 2, number, spread=0.01), None, None) for number in range(120)]
    found, reasons = row_statistics(rows)
    assert [row.letters for row in found[:4] if row] == ["a", "a", "", ""]
    assert reasons[0].startswith("Of the significance groups only that of the rows which do not differ")
    assert "but 52 letters" in reasons[0]
