"""Two methods compared: is the difference of their scores larger than the draw of subjects and seeds can explain?

The differences d of one (site, task, subject) and seed follow a two-way random-effects model: subjects, nested in sites,
and seeds are both random and crossed, and a seed shifts all subjects together; sites and tasks are fixed, so the claim is
about new subjects and new seeds *at these sites*. The estimate is the difference of the table's two scores, i.e. the mean
over seeds of sum_m w_m d_sm with the table's weights w (`Design.weights`). With S seeds and

    u_si = sum over the tasks of subject i of w_m sqrt(n / (n - 1)) (d_sm - mean over subjects of that site-task and seed)

where n is the number of subjects of the site-task and n_j the least of site j, the variance is estimated by three sums of
squares, each that of the balanced two-way analysis where there is one site and task:

    V_seed     = variance over seeds of sum_m w_m d_sm, / S                              S - 1 degrees of freedom
    V_subject  = sum over sites j and their i of (mean_s u_si)^2                         n_j - 1 at each site
    V_residual = sum over j, i and s of (u_si - mean_s u_si)^2 / (S (S - 1))             (n_j - 1) (S - 1) at each site

    variance = V_seed + V_subject - V_residual

with Satterthwaite's degrees of freedom, sites combined by the same rule (Welch), so spreads may differ between sites. What
a seed does to all subjects of one site is part of V_seed. Where V_seed < V_residual, or V_subject < V_residual, the estimate
of that component is negative: it is set to zero, i.e. the term cancels against V_residual (both: V_residual is left).

The false positives at 5 % (100 % less the coverage of the 95 % interval) were measured where seeds spread 0, 0.3 and 1 times as
much as subjects (`pytest tests/benchmarks/stats/test_simulation.py -m long -s`, which fixes the generating model: up to two tasks
at four sites of unequal size; 100,000 tables a cell, Monte-Carlo error 0.07 points):

    seeds   20 subjects          80 subjects
        3   4.3   4.7   7.2 %    4.7   7.0   7.2 %
        5   4.4   4.5   5.5 %    4.9   5.5   5.6 %
       10   4.5   4.7   4.9 %    4.9   5.0   5.0 %

A t test over 80 subjects of differences averaged over 5 seeds has 21 % at 0.3; the same file measures it.

Below FEW_SEEDS there is an interval, which is marked, and no significance. A single seed tells nothing of seeds and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats.t takes ten times as long

from .scores import Design, Floats, Scores, StatsError

FEW_SEEDS = 5  # below, no significance is drawn: the table above has the false positives with 3


@dataclass(frozen=True)
class Estimate:
    """The difference, its standard error and its degrees of freedom, of one table or of many at once [...]."""

    difference: Floats
    error: Floats
    freedom: Floats

    @property
    def margin(self) -> Floats:
        """Half the width of the 95 % interval."""
        return np.asarray(self.error * stdtrit(self.freedom, 0.975))

    @property
    def p(self) -> Floats:
        """The two-sided p value of no difference. Without any spread it is 1 if the methods are equal, else 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(self.difference == 0, 0, np.abs(self.difference) / self.error)
        return np.minimum(2 * stdtr(self.freedom, -distance), 1)


@dataclass(frozen=True)
class Comparison:
    """Method A minus method B in the metric's unit: positive where A is better.

    `effect` is the difference divided by `spread`. `spread` is the root of the mean, over site-tasks and seeds, of the variance
    of the differences over subjects; the effect is nan where subjects do not differ. A site or subject gains where its mean
    difference over its tasks and the seeds is above 0. Without any spread, p is 1 if the methods are equal, else 0.
    """

    difference: float
    error: float  # standard error
    freedom: float  # Satterthwaite's degrees of freedom; inf where nothing spreads
    low: float  # of the 95 % interval
    high: float
    p: float | None  # two-sided p value of no difference; None for few seeds
    spread: float
    effect: float
    sites_gaining: float  # share, 0 to 1
    subjects_gaining: float
    seeds: int
    subjects: int

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval."""
        return (self.high - self.low) / 2

    @property
    def few_seeds(self) -> bool:
        return self.seeds < FEW_SEEDS


def compare(differences: Scores) -> Comparison:
    """The comparison that `a.minus(b)` supports. Raises StatsError for one seed, or a site with one subject."""
    design, values = differences.design, differences.values
    require_estimable(differences)
    estimate = two_way(values, design)
    difference, margin = float(estimate.difference), float(estimate.margin)
    spread = float(np.sqrt(subject_variance(values, design)))
    return Comparison(
        difference=difference,
        error=float(estimate.error),
        freedom=float(estimate.freedom),
        low=difference - margin,
        high=difference + margin,
        p=None if len(values) < FEW_SEEDS else float(estimate.p),
        spread=spread,
        effect=difference / spread if spread > 0 else np.nan,
        sites_gaining=float(np.mean(design.site_means(values).mean(0) > 0)),
        subjects_gaining=float(np.mean(design.subject_means(values).mean(0) > 0)),
        seeds=len(values),
        subjects=len(design.subjects),
    )


def margins(methods: Sequence[Scores | None]) -> list[float | None]:
    """Half of the 95 % interval of the score of each method, by the model above; None without scores, or where it cannot be
    estimated. Methods with the same columns are estimated at once."""
    found: list[float | None] = [None] * len(methods)
    alike: dict[tuple[Any, ...], dict[int, Scores]] = {}
    for number, scores in enumerate(methods):
        if scores:
            alike.setdefault((scores.seeds, scores.columns), {})[number] = scores
    for own in alike.values():
        first = next(iter(own.values()))
        with suppress(StatsError):
            require_estimable(first)
            halves = two_way(np.stack([scores.values for scores in own.values()]), first.design).margin
            for number, half in zip(own, halves.tolist(), strict=True):
                found[number] = half
    return found


def require_estimable(differences: Scores) -> None:
    """Raises StatsError where the model above cannot be estimated: one seed, or a site with one subject."""
    if len(differences.seeds) < 2:
        raise StatsError(
            f"1 seed ({differences.seeds[0]}): the effect of a seed cannot be told from that of a method; run 2 or more, "
            f"{FEW_SEEDS} for significance"
        )
    for (site, task), count in zip(differences.design.site_tasks, differences.design.in_site_task.sum(0), strict=True):
        if count < 2:
            raise StatsError(
                f"site {site} has 1 test subject for {task}: its spread over subjects is unknown; 2 are needed"
            )


def two_way(values: Floats, design: Design) -> Estimate:
    """The estimate of the model above from differences [..., seeds, M]; each index of the leading axes is a table of its own."""
    seeds = values.shape[-2]
    totals, u = values @ design.weights, _subjects(values, design)
    mean = u.mean(-2)  # [..., subjects]
    return _estimate(
        design,
        seeds,
        totals.mean(-1),
        totals.var(-1, ddof=1) / seeds,
        mean**2 @ design.at_site,
        ((u - mean[..., None, :]) ** 2).sum(-2) @ design.at_site / (seeds * (seeds - 1)),
    )


def two_way_of_pairs(values: Floats, design: Design) -> tuple[Estimate, Floats, Floats]:
    """The estimates [..., K, K] of row minus column from the scores [..., K, seeds, M] of K methods, V_seed [..., K, K], and
    V_subject by site [..., K, K, sites].

    Sums of squares of differences are those of scores, less twice their products: no difference is ever made.
    """
    seeds = values.shape[-2]
    values = values - values.mean(-3, keepdims=True)  # what methods share cancels; without it fewer digits are left
    totals, u = values @ design.weights, _subjects(values, design)
    means, mean = totals.mean(-1), u.mean(-2)
    rest = u - mean[..., None, :]
    own = [design.at_site[:, site] > 0 for site in range(len(design.sites))]
    of_subjects = np.stack([sums_of_squares(mean[..., at]) for at in own], -1)
    residual = np.stack([sums_of_squares(rest[..., at].reshape(*means.shape, -1)) for at in own], -1)
    of_seeds = sums_of_squares(totals - means[..., None]) / (seeds * (seeds - 1))
    difference = means[..., :, None] - means[..., None, :]
    estimate = _estimate(design, seeds, difference, of_seeds, of_subjects, residual / (seeds * (seeds - 1)))
    return estimate, of_seeds, of_subjects


def _subjects(values: Floats, design: Design) -> Floats:
    """u of the model above, [..., seeds, subjects]."""
    count = design.in_site_task.sum(0)
    deviations = values - design.site_task_means(values) @ design.in_site_task.T
    return (deviations * (design.weights * (design.in_site_task @ np.sqrt(count / (count - 1))))) @ design.of_subject


def sums_of_squares(rows: Floats) -> Floats:
    """[..., K, n] to [..., K, K]: the sum of squares of each row minus each other."""
    products = rows @ rows.swapaxes(-1, -2)
    squares = np.einsum("...ii->...i", products)
    return np.maximum(squares[..., :, None] + squares[..., None, :] - 2 * products, 0)


def _estimate(
    design: Design, seeds: int, difference: Floats, of_seeds: Floats, of_subjects: Floats, residual: Floats
) -> Estimate:
    """From V_seed [...], and V_subject and V_residual by site [..., sites]."""
    enough = design.fewest - 1  # [sites]
    rest = residual.sum(-1)
    variance = rest + np.maximum(of_seeds - rest, 0) + np.maximum(of_subjects.sum(-1) - rest, 0)
    seeds_spread, subjects_spread = of_seeds > rest, of_subjects.sum(-1) > rest
    uncertainty = (  # from the sums of squares that are left in the variance
        seeds_spread * of_seeds**2 / (seeds - 1)
        + subjects_spread * (of_subjects**2 / enough).sum(-1)
        + (seeds_spread == subjects_spread) * (residual**2 / enough).sum(-1) / (seeds - 1)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(uncertainty > 0, variance**2 / uncertainty, np.inf)
    return Estimate(difference, np.sqrt(variance), freedom)


def subject_variance(values: Floats, design: Design) -> float:
    """The mean over site-tasks and seeds of the variance over subjects."""
    deviations = values - design.site_task_means(values) @ design.in_site_task.T
    return float((deviations**2 @ design.in_site_task / (design.in_site_task.sum(0) - 1)).mean())


def upper_tail(distance: float, error: float, freedom: float) -> float:
    """P(T > distance / error); without any error it is 0 for a distance above 0, else 1."""
    if error > 0:
        return float(stdtr(freedom, -distance / error))
    return 0.0 if distance > 0 else 1.0


def wilcoxon_given_these_models(differences: Scores) -> float:
    """The p value of the signed-rank test on each subject's mean over tasks and seeds, *given these trained models*: it knows
    nothing of other seeds and decides nothing. It is 1 where no subject differs."""
    means = differences.design.subject_means(differences.values).mean(0)
    return float(stats.wilcoxon(means).pvalue) if means.any() else 1.0
