"""How different the sites are, measured without any training: look-up tables from source to target intensity.

A table is the best map that sees one pixel at a time. What a site's own table gains over the table of all sites with the same
source contrast is what a single map of that source cannot express: shifts of protocol, scanner and preprocessing where the tasks
agree, conflicting targets where they do not. A table sees nothing spatial; where a task has several sources, it sees their mean
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..federation import Federation, Task
from .metrics.psnr import psnr

BINS = 48

Predict = Callable[[np.ndarray], np.ndarray]  # source to prediction
Pair = tuple[np.ndarray, np.ndarray]  # source and target of one subject, float32 [N, H, W] in [0, 1]


@dataclass(frozen=True, eq=False)
class LookupTable:
    """The sum and the number of the target intensities in each bin of the source intensity; tables can be added."""

    total: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    count: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    @classmethod
    def fit(cls, pairs: Iterable[Pair]) -> LookupTable:
        """The table of these sources and targets."""
        total, count = np.zeros(BINS), np.zeros(BINS)
        for source, target in pairs:
            bins = _bins(source).ravel()
            total += np.bincount(bins, target.ravel(), BINS)
            count += np.bincount(bins, minlength=BINS)
        return cls(total, count)

    def __add__(self, other: LookupTable) -> LookupTable:
        return LookupTable(self.total + other.total, self.count + other.count)

    def __call__(self, source: np.ndarray) -> np.ndarray:
        """The mean target for each source intensity, float32 of the source's shape. A bin that was never seen is interpolated."""
        seen = self.count > 0
        centres = np.arange(BINS)
        values = np.interp(centres, centres[seen], self.total[seen] / self.count[seen])
        return values.astype(np.float32)[_bins(source)]


def heterogeneity(federation: Federation) -> list[dict[str, object]]:
    """A row for each site and task, with the PSNR in dB on the test subjects: the mean over subjects of the mean over slices.

    `copy_source` and `mean_image`, of the site's training targets, need no map; `own_table` is fitted on the site's training
    subjects, `pooled_table` on those of every site and task with the same source; `gap` is own minus pooled; `others` maps
    "site task" to the score of that one's table here, for every other site with the same source.
    """
    everyone = [(site, task) for site in federation.names for task in federation.tasks[site]]
    tables = {(site, task): LookupTable.fit(subject_pairs(federation, site, task, "train")) for site, task in everyone}
    rows: list[dict[str, object]] = []
    for name, task in everyone:
        score = partial(_score, federation, name, task)
        kin = [other for other in everyone if other[1].source == task.source]
        own, pooled = score(tables[name, task]), score(sum((tables[other] for other in kin), LookupTable()))
        rows.append(
            {
                "site": name,
                "task": str(task),
                "copy_source": score(lambda source: source),
                "mean_image": score(_mean_image(federation, name, task)),
                "own_table": own,
                "pooled_table": pooled,
                "gap": own - pooled,
                "others": {f"{site} {their}": score(tables[site, their]) for site, their in kin if site != name},
            }
        )
    return rows


def _bins(source: np.ndarray) -> np.ndarray:
    return np.minimum((source * BINS).astype(np.int64), BINS - 1)


def subject_pairs(federation: Federation, name: str, task: Task, split: str) -> Iterator[Pair]:
    """Of each subject of a split, the mean of the sources and the target."""
    site = federation.sites[name]
    *sources, last = (site.contrasts.index(contrast) for contrast in task.contrasts)
    for subject in site.of(split):
        images = site.images[subject.slices].astype(np.float32) / 2 + 0.5
        yield images[:, sources].mean(1), images[:, last]


def _mean_image(federation: Federation, name: str, task: Task) -> Predict:
    """A map that answers every slice with the mean target of the site's training slices."""
    total, count = np.float32(0), 0
    for _, target in subject_pairs(federation, name, task, "train"):
        total, count = total + target.sum(0), count + len(target)
    mean = total / count
    return lambda source: np.broadcast_to(mean, source.shape)


def _score(federation: Federation, name: str, task: Task, predict: Predict) -> float:
    return float(
        np.mean([psnr(predict(source), target) for source, target in subject_pairs(federation, name, task, "test")])
    )
