"""Validation PSNR of a row's runs over rounds, bytes and seconds: the numbers behind every curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .excerpt import read_columns
from .table import Finished

Floats = NDArray[np.float64]
WANTED = ("round", "site", "val_psnr", "bytes_up", "bytes_down", "seconds")


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
        rows = read_columns(run.folder / "curve.csv", WANTED)
        names = sorted({row["site"] for row in rows})
        rounds = sorted({row["round"] for row in rows})
        number = {round: index for index, round in enumerate(rounds)}
        psnr, costs = np.full((len(names), len(rounds)), np.nan), np.zeros((2, len(rounds)))
        for row in rows:
            at = number[row["round"]]
            psnr[names.index(row["site"]), at] = row["val_psnr"]
            costs[:, at] += row["bytes_up"] + row["bytes_down"], row["seconds"]
        tasks = run.record.identity["scenario"]["tasks"]
        weights = np.array([sum(len(tasks.get(site, [site])) for site in name.split("+")) for name in names], float)
        kept = ~np.isnan(psnr).all(0)
        traffic, seconds = costs.cumsum(1)[:, kept]
        overall = weights / weights.sum() @ psnr[:, kept]
        return cls(
            np.array(rounds)[kept], traffic, seconds, dict(zip(names, psnr[:, kept], strict=True)), np.asarray(overall)
        )

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
        own = [there(seed, site) for seed in seeds]
        common = sorted(set.intersection(*map(set, own)))
        cells = np.array([[run[at] for at in common] for run in own]).reshape(len(own), len(common), 3)
        values, traffic, seconds = np.moveaxis(cells, 2, 0)
        return cls(np.array(common), traffic.mean(0), seconds.mean(0), values.mean(0), values.min(0), values.max(0))


def there(seed: Validation, site: str) -> dict[float, tuple[float, float, float]]:
    """Round -> value, bytes and seconds, where there is a value."""
    found = zip(seed.rounds, seed.values(site), seed.traffic, seed.seconds, strict=True)
    return {
        float(at): (float(value), float(sent), float(spent)) for at, value, sent, spent in found if not math.isnan(value)
    }
