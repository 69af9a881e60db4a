"""Validation PSNR of a row's runs over rounds, bytes and seconds: the numbers behind every curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from ..records.finished import Finished

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Validation:
    """A run's rounds [n] in which some site was validated, and what they had cost since the start."""

    rounds: Floats
    traffic: Floats  # bytes of all sites, up and down
    seconds: Floats  # of all sites' training, one after the other
    sites: dict[str, Floats]  # dB, nan where a site was not validated; a group that trains as one is named a+b
    overall: Floats  # the mean over site-tasks, nan where a site was not validated

    @classmethod
    def of(cls, run: Finished) -> Validation:
        sheet = run.sheet("curve.csv")
        names, site = sheet.index.sites
        rounds, at = np.unique(sheet.column("round"), return_inverse=True)
        psnr = np.full((len(names), len(rounds)), np.nan)
        psnr[site, at] = sheet.column("val_psnr")
        up, down, time = (np.bincount(at, sheet.column(name)) for name in ("bytes_up", "bytes_down", "seconds"))
        costs = np.array([up + down, time])
        tasks = run.record.identity["scenario"]["tasks"]
        weights = np.array([sum(len(tasks.get(own, [own])) for own in name.split("+")) for name in names], float)
        kept = ~np.isnan(psnr).all(0)
        psnr, (traffic, seconds) = psnr[:, kept], costs.cumsum(1)[:, kept]
        overall = np.asarray(weights / weights.sum() @ psnr)
        return cls(rounds[kept], traffic, seconds, dict(zip(names, psnr, strict=True)), overall)

    def values(self, site: str = "") -> Floats:
        """Of a site, or without one the mean over site-tasks."""
        return self.overall if not site else self.sites.get(site, np.full(len(self.rounds), np.nan))


@dataclass(frozen=True, eq=False)
class Series:
    """Of a row, in the rounds [n] in which all of its seeds have a value: the mean over seeds, the lowest and the highest."""

    rounds: Floats
    traffic: Floats  # the mean over seeds of the bytes since the start
    seconds: Floats
    mean: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, seeds: Sequence[Validation], site: str = "") -> Series:
        found = [~np.isnan(seed.values(site)) for seed in seeds]
        common = reduce(np.intersect1d, [seed.rounds[kept] for seed, kept in zip(seeds, found, strict=True)])
        places = [np.searchsorted(seed.rounds, common) for seed in seeds]
        values, traffic, seconds = (
            np.array([own[at] for own, at in zip(lines, places, strict=True)])
            for lines in zip(*((seed.values(site), seed.traffic, seed.seconds) for seed in seeds), strict=True)
        )
        return cls(common, traffic.mean(0), seconds.mean(0), values.mean(0), values.min(0), values.max(0))
