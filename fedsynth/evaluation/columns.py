"""The columns of `scores.csv`: of every registered metric one for each region in which it is taken."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from ..registry import METRICS, RegistryError
from ..runtime.metric import ImageMetric, MetricError, Region

FIRST = ("psnr", "ssim")  # metrics that judge every validated round; their columns come first


class MetricColumn(NamedTuple):
    """What a column of `scores.csv` holds."""

    metric: ImageMetric
    name: str  # under which the metric is registered
    region: Region

    def check(self, column: str, value: float, whose: str) -> None:
        """Raises MetricError if the score of somebody is not one that the metric can have."""
        if not self.metric.accepts(value):
            low, high = self.metric.range
            raise MetricError(
                f"{column} of {whose} is {value:g}, outside {low:g} to {high:g}, which is the range that the metric "
                f"{self.name!r} declares ({type(self.metric).__module__}); one of the two is wrong"
            )


def installed_metrics() -> dict[str, ImageMetric]:
    """Every registered metric by name."""
    return {name: METRICS[name]() for name in dict.fromkeys((*FIRST, *METRICS.entries()))}


def metric_columns() -> dict[str, MetricColumn]:
    """All columns by name.

    Raises:
        RegistryError: Two metrics fill one column.
    """
    found: dict[str, MetricColumn] = {}
    for name, metric in installed_metrics().items():
        for column, region in metric.columns(name).items():
            if column in found:
                raise RegistryError(f"the metrics {found[column].name!r} and {name!r} both fill {column}; rename one")
            found[column] = MetricColumn(metric, name, region)
    return found


def metric_column(column: str) -> MetricColumn:
    """What the column holds. Metrics that cannot fill it are not loaded.

    Raises:
        RegistryError: No registered metric fills it; the message has the nearest columns, and what failed to load.
    """
    ending = next((region.value for region in Region if region.value and column.endswith(region.value)), "")
    for name in dict.fromkeys((column.removesuffix(ending), column)):
        try:
            cls = METRICS[name]
        except RegistryError:
            continue
        if region := cls.columns(name).get(column):
            return MetricColumn(cls(), name, region)
    known = metric_columns()
    near = get_close_matches(column, known, cutoff=0.5) or known
    failed = "".join(f"\n{origin} failed to load: {reason}" for origin, reason in METRICS.broken().items())
    raise RegistryError(f"no metric {column!r} is installed; the nearest are {', '.join(near)}{failed}")
