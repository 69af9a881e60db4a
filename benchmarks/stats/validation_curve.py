"""Validation PSNR of a run over its rounds, with the bytes and seconds that training had taken by then; and what is read off it.

A round is selected by the mean over site-tasks, so that is what `overall` has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import fsum
from operator import mul

import numpy as np

from ..records.score_table import ScoreTable
from .scores import Floats

SHARE = 0.25  # of the rounds: the last quarter
LEAST = 3  # validated rounds that a line needs; where the last quarter has fewer, earlier ones are added
LIMITED = 0.1  # dB: half of the difference that does not matter (0.2 dB)


@dataclass(frozen=True, eq=False)
class ValidationCurve:
    """The rounds [n] of a run in which some site was validated, ascending."""

    rounds: Floats
    overall: Floats  # dB, the mean over site-tasks; nan where a site was not validated
    traffic: Floats  # bytes that all sites have sent and received by then
    seconds: Floats  # that all sites have trained since the start, one after the other
    sites: Mapping[str, Floats]  # dB, nan where a site was not validated; a group that trains as one is named a+b
    is_whole: bool = True  # every site of the scenario has a row in each of these rounds

    @classmethod
    def of(cls, curve: ScoreTable, tasks: Mapping[str, Sequence[str]], shipped: int = 0) -> ValidationCurve:
        """From a run's `curve.csv`, the tasks of each site of its scenario, and the bytes sent before the first round."""
        names, site = curve.index.sites
        rounds, at = np.unique(curve.column("round"), return_inverse=True)
        psnr, has_row = np.full((len(names), len(rounds)), np.nan), np.zeros((len(names), len(rounds)), bool)
        psnr[site, at], has_row[site, at] = curve.column("val_psnr"), True
        up, down, seconds = (np.bincount(at, curve.column(name)) for name in ("bytes_up", "bytes_down", "seconds"))
        kept = ~np.isnan(psnr).all(0)
        members = [name.split("+") for name in names]
        weights = [sum(len(tasks.get(site, ())) for site in own) for own in members]
        psnr = psnr[:, kept]
        return cls(
            rounds=rounds[kept],
            overall=np.array([fsum(map(mul, weights, values)) / sum(weights) for values in psnr.T.tolist()]),
            traffic=shipped + (up + down).cumsum()[kept],
            seconds=seconds.cumsum()[kept],
            sites=dict(zip(names, psnr, strict=True)),
            is_whole=bool(has_row[:, kept].all()) and tasks.keys() <= {site for own in members for site in own},
        )

    def values(self, site: str = "") -> Floats:
        """The PSNR of a site, or without one the mean over site-tasks."""
        return self.overall if not site else self.sites.get(site, np.full(len(self.rounds), np.nan))


@dataclass(frozen=True, eq=False)
class CurveOverSeeds:
    """The mean, the lowest and the highest PSNR of a row's seeds, in the rounds [n] in which all of them have a value."""

    rounds: Floats
    traffic: Floats  # mean over seeds
    seconds: Floats  # mean over seeds
    mean: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, seeds: Sequence[ValidationCurve], site: str = "") -> CurveOverSeeds:
        """Of one site, or without one of the mean over site-tasks."""
        known = [~np.isnan(seed.values(site)) for seed in seeds]
        rounds = [seed.rounds[kept] for seed, kept in zip(seeds, known, strict=True)]
        alike = all(np.array_equal(own, rounds[0]) for own in rounds)
        common = rounds[0] if alike else reduce(np.intersect1d, rounds)
        positions = [np.searchsorted(seed.rounds, common) for seed in seeds]
        values, traffic, seconds = (
            np.array([own[at] for own, at in zip(lines, positions, strict=True)])
            for lines in zip(*((seed.values(site), seed.traffic, seed.seconds) for seed in seeds), strict=True)
        )
        return cls(common, traffic.mean(0), seconds.mean(0), values.mean(0), values.min(0), values.max(0))


@dataclass(frozen=True)
class Reached:
    """The first validated round with a score, and the bytes until then; nan, nan where the run never reaches it."""

    round: float
    traffic: float


def reach(curve: ValidationCurve, psnr: float) -> Reached:
    """When the curve first reaches `psnr` (dB)."""
    there = curve.overall >= psnr
    if not there.any():
        return Reached(np.nan, np.nan)
    first = int(np.argmax(there))
    return Reached(float(curve.rounds[first]), float(curve.traffic[first]))


def at_traffic(curve: ValidationCurve, budget: float) -> float:
    """The best validation PSNR (dB) of the rounds that `budget` bytes pay for; nan where they pay for no validated round."""
    paid = curve.overall[curve.traffic <= budget]
    return float(paid.max()) if paid.size else np.nan


def rising(curve: ValidationCurve) -> float | None:
    """Whether a run was stopped by its budget: the gain in validation PSNR over the last quarter of the rounds, in dB.

    It is the slope of the least-squares line through its validated rounds, or through the last three where it has fewer, times a
    quarter of the rounds. None for fewer than three."""
    if len(curve.rounds) < LEAST:
        return None
    span = SHARE * curve.rounds[-1]
    last = (curve.rounds > curve.rounds[-1] - span) | (curve.rounds >= curve.rounds[-LEAST])
    apart = curve.rounds[last] - curve.rounds[last].mean()
    return float(apart @ curve.overall[last] / (apart @ apart) * span)
