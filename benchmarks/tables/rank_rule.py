"""The rule for ranks: when the rows of a table are ranked, and how far the rank of each is known.

The rows of the family (all that have every seed and no diverged one) are ranked if

(a) there are at least LEAST_SEEDS seeds,
(b) no row still rises, and the core methods stay within LIMITED dB with twice the rounds,
(c) the same pairs of rows differ at three quarters of the rounds as at the end, by validation,
(d) every row is above the look-up table, and
(e) every site has TEST_SUBJECTS test and VAL_SUBJECTS validation subjects.

Each condition is a function that tells why it is not met, and nothing if it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import sqrt
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from ..records.finished import FinishedRun
from ..records.record import Record
from ..stats.compare import FEW_SEEDS as LEAST_SEEDS
from ..stats.multiple.holm import holm
from ..stats.multiple.reference import LEVEL
from ..stats.scores import Floats
from ..stats.validation_curve import LIMITED
from .row import Row

# A decay to nothing flattens any curve, so these train on.
CORE = ("local", "pooled", "fedavg", "fedbn", "lgfedavg", "pflsynth")
TEST_SUBJECTS, VAL_SUBJECTS = 20, 5
EARLIER = 0.75  # of the rounds: three quarters


def may_be_ranked(row: Row) -> bool:
    """A row with a missing seed has no score; the interval of one with a diverged seed does not hold."""
    return row.matrix is not None and not row.diverged


def reasons_against_ranks(rows: Sequence[Row], longer: Sequence[Sequence[FinishedRun]]) -> tuple[str, ...]:
    """Why these rows are not ranked; nothing if they are. `longer`: of each row, its runs with twice the rounds."""
    if len(rows) < 2:
        return ("fewer than two rows have every seed and no diverged one",)
    found = chain(
        few_seeds(rows),
        still_rising(rows),
        changed_by_twice_the_rounds(rows, longer),
        other_pairs_earlier(rows),
        below_lookup(rows),
        few_subjects(rows[0].runs[0].record),
    )
    return tuple(found)


def few_seeds(rows: Sequence[Row]) -> Iterator[str]:
    """Condition (a)."""
    if (count := len(rows[0].seeds)) < LEAST_SEEDS:
        yield f"{count} of {LEAST_SEEDS} seeds, so no significance is drawn"


def still_rising(rows: Sequence[Row]) -> Iterator[str]:
    """Condition (b), its first half."""
    if unknown := sum(row.still_rises is None for row in rows):
        yield f"{unknown} of {len(rows)} rows were validated in too few rounds to tell whether they still rise"
    if rising := [row for row in rows if row.still_rises]:
        most = max(rising, key=lambda row: fmean(row.rising))
        yield (
            f"{len(rising)} of {len(rows)} rows still rise or may "
            f"(most: {most.full_name}, {fmean(most.rising):+.2f} dB in the last quarter of the rounds)"
        )


def changed_by_twice_the_rounds(rows: Sequence[Row], longer: Sequence[Sequence[FinishedRun]]) -> Iterator[str]:
    """Condition (b), its second half: core methods with twice the rounds and a schedule of that length, by validation."""
    core = [entry for entry in zip(rows, longer, strict=True) if entry[0].identity["method"]["name"] in CORE]
    if missing := {row.identity["method"]["name"]: None for row, runs in core if not runs}:
        yield f"no run with twice the rounds of {', '.join(missing)}"
    changes = {row.full_name: _change(row, runs) for row, runs in core if runs}
    if changed := [f"{name} by {change:+.2f} dB" for name, change in changes.items() if abs(change) >= LIMITED]:
        yield f"twice the rounds change {', '.join(changed)}"


def _change(row: Row, longer: Sequence[FinishedRun]) -> float:
    """What twice the rounds add to a row's validation PSNR, mean over the seeds that both have."""
    own = {run.record.identity["seed"]: run.record.validation_psnr for run in row.runs}
    return fmean(run.record.validation_psnr - own[run.record.identity["seed"]] for run in longer)


def other_pairs_earlier(rows: Sequence[Row]) -> Iterator[str]:
    """Condition (c): the best validation score until then against that of all rounds, tested over seeds."""
    if len(rows[0].seeds) < LEAST_SEEDS:
        return
    if not all(row.curves for row in rows):
        yield "not all sites were validated in the same rounds, so it is not known whether pairs differed earlier"
        return
    end = pairs_that_differ(_best_until(rows, 1.0))
    if changed := int((end != pairs_that_differ(_best_until(rows, EARLIER))).sum()) // 2:
        pairs = len(rows) * (len(rows) - 1) // 2
        yield f"{changed} of {pairs} pairs are told apart otherwise at three quarters of the rounds than at the end"


def _best_until(rows: Sequence[Row], share: float) -> Floats:
    """[rows, seeds]: the best mean validation PSNR in the first `share` of the rounds, as a round is selected."""
    return np.array(
        [
            [
                curve.overall[curve.rounds <= max(share * curve.rounds[-1], curve.rounds[0])].max()
                for curve in row.curves
            ]
            for row in rows
        ]
    )


def pairs_that_differ(scores: Floats) -> Floats:
    """[rows, rows]: 1 where the first is above the second, -1 where it is below, 0 where that is not shown (paired t tests over
    seeds, Holm at 5 %). `scores`: [rows, seeds]."""
    above, below = np.triu_indices(len(scores), 1)
    differences = scores[above] - scores[below]
    means, errors = differences.mean(1), differences.std(1, ddof=1) / sqrt(scores.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(means == 0, 0.0, means / errors)
    signs = np.sign(means) * (holm(2 * stdtr(scores.shape[1] - 1, -np.abs(t))) < LEVEL)
    found = np.zeros((len(scores), len(scores)))
    found[above, below], found[below, above] = signs, -signs
    return found


def below_lookup(rows: Sequence[Row]) -> Iterator[str]:
    """Condition (d)."""
    if below := sum(row.below_lookup is True for row in rows):
        yield f"{below} of {len(rows)} rows are below the look-up table, which needs no training"
    if any(row.below_lookup is None for row in rows):
        yield "the look-up table was not recorded"


def few_subjects(record: Record) -> Iterator[str]:
    """Condition (e)."""
    sizes = record.data["subjects_and_slices"].values()
    for split, name, least in (("test", "test", TEST_SUBJECTS), ("val", "validation", VAL_SUBJECTS)):
        if (count := min(splits[split][0] for splits in sizes)) < least:
            yield f"a site has {count} of {least} {name} subjects"


def rank_intervals(better: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The best and the worst rank that each row may have. `better` [K, K]: the first row is shown to be better than the second.

    All intervals hold together wherever all pairs do (Al Mohamad, Goeman and van Zwet, Biometrics 2022): a row comes after those
    that are shown to be better than it, and before those that it is shown to be better than.
    """
    count = len(better)
    return [(1 + int(better[:, row].sum()), count - int(better[row].sum())) for row in range(count)]
