"""How well a method serves the site and the subjects that it serves worst, and how much it varies over sites and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .scores import Floats, Scores, StatsError

TAIL = 0.05  # the share of subjects that are the worst


@dataclass(frozen=True)
class Reliability:
    """Of one method's scores, or of the differences of two methods; in the metric's unit."""

    worst_site: str
    worst_site_score: float  # its mean over tasks, subjects and seeds
    worst_subjects: float  # the mean of the worst 5 % of subjects, then over seeds
    over_sites: float | None  # standard deviation of the sites' means; None for one site
    over_seeds: float | None  # standard deviation of the table's score; None for one seed


def reliability(scores: Scores) -> Reliability:
    """A subject counts with its mean over tasks, and has the weight that it has in the table's score."""
    design, values = scores.design, scores.values
    sites = design.site_means(values).mean(0)
    subjects, weights = design.subject_means(values), design.weights @ design.of_subject
    totals = values @ design.weights
    return Reliability(
        worst_site=design.sites[int(np.argmin(sites))],
        worst_site_score=float(sites.min()),
        worst_subjects=float(np.mean([lower_tail(own, weights) for own in subjects])),
        over_sites=float(sites.std(ddof=1)) if len(sites) > 1 else None,
        over_seeds=float(totals.std(ddof=1)) if len(totals) > 1 else None,
    )


def lower_tail(values: Floats, weights: Floats, share: float = TAIL) -> float:
    """The mean of the worst `share` (conditional value at risk, Rockafellar and Uryasev 2002) of values [n] with weights [n]
    that sum to 1. The value at the edge counts with the part of its weight that is needed. With a share of 1 it is the mean.

    Raises StatsError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise StatsError(f"the worst {share} of the subjects; give a share above 0 and at most 1")
    order = np.argsort(values)
    before = np.cumsum(weights[order]) - weights[order]
    part = np.clip(share - before, 0, weights[order])
    return float(values[order] @ part / part.sum())
