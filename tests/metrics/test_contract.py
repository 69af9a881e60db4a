"""What a metric must keep: a score a slice, inside its range, in a column of its own; and what is said where it does not."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import ClassVar, Literal

import pytest
import torch
from support.federations import federation, trainer
from support.source import ROOT
from torch import Tensor

from fedsynth.evaluation import columns
from fedsynth.evaluation.columns import metric_column, metric_columns
from fedsynth.evaluation.scores import check_metrics, scores
from fedsynth.method import Method
from fedsynth.registry import METRICS, RegistryError
from fedsynth.runtime.metric import ImageMetric, MetricError, Region


class Given(ImageMetric):
    """What the test gives it, whatever the images."""

    better: ClassVar[Literal["higher", "lower"]] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    returned: ClassVar[Callable[[int], object]] = lambda slices: torch.zeros(slices)

    def score(self, prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return type(self).returned(len(target))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs metrics beside PSNR and SSIM."""

    def install(**metrics: ImageMetric) -> None:
        own = {name: METRICS[name]() for name in columns.FIRST} | metrics
        for module in ("columns", "evaluate", "scores"):
            monkeypatch.setattr(f"fedsynth.evaluation.{module}.installed_metrics", lambda: own)

    return install


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (lambda slices: torch.zeros(slices, 1), r"a tensor of shape \[2, 1\]"),
        (lambda slices: torch.tensor(0.5), r"a tensor of shape \[\]"),
        (lambda slices: 0.5, "a float"),
    ],
)
def test_a_metric_that_returns_something_else_is_refused_by_name(
    returned: Callable[[int], object], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Given, "returned", returned)
    image = torch.zeros(2, 1, 16, 16)
    with pytest.raises(
        MetricError, match=rf"^mine: .*Given returned {found} for 2 slices; .* a tensor of shape \[2\]$"
    ):
        scores(image, image, metrics={"mine": Given()})


@pytest.mark.parametrize("value", [1.5, -0.5, math.inf, -math.inf])
def test_a_score_outside_the_range_is_refused_with_metric_subject_and_value(
    value: float, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = trainer(Method(), sites=federation(("ixi", "oasis")))
    monkeypatch.setattr(Given, "returned", lambda slices: torch.full((slices,), value))
    installed(mine=Given())
    said = rf"^mine of subject .* \(T1->T2 at ixi\) is {value:g}, outside 0 to 1, .* the metric 'mine' declares"
    with pytest.raises(MetricError, match=said):
        of.score("test")


def test_rounding_leaves_no_range_and_what_is_not_defined_lies_in_all() -> None:
    assert Given().accepts(1 + 1e-6)
    assert Given().accepts(math.nan)
    assert not Given().accepts(1.01)
    assert METRICS["psnr"]().accepts(60.0)
    assert not METRICS["psnr"]().accepts(9999)
    assert not METRICS["ssim"]().accepts(7)
    assert not METRICS["mae"]().accepts(-1)


def test_a_metric_is_tried_before_a_run_trains(installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    installed(mine=Given())
    check_metrics(16, 16)
    monkeypatch.setattr(Given, "returned", lambda slices: torch.full((slices,), 2.0))
    with pytest.raises(MetricError, match="mine of a slice of noise is 2, outside 0 to 1"):
        trainer(Method(), sites=federation(("ixi", "oasis")))
    monkeypatch.setattr(Given, "range", ())
    with pytest.raises(
        MetricError, match=r'mine: .*Given must say what is `better`, "higher" or "lower", and its `range`'
    ):
        check_metrics(16, 16)


def test_two_metrics_do_not_fill_one_column(installed: Callable[..., None]) -> None:
    installed(psnr_fg=Given())
    with pytest.raises(RegistryError, match="the metrics 'psnr' and 'psnr_fg' both fill psnr_fg; rename one"):
        metric_columns()


def test_a_metric_of_one_region_has_its_plain_name() -> None:
    assert list(metric_columns())[:4] == ["psnr", "psnr_fg", "psnr_lesion", "ssim"]
    assert METRICS["lesion_contrast"].columns("lesion_contrast") == {"lesion_contrast": Region.lesions}
    assert metric_column("ssim_fg")[1:] == ("ssim", Region.foreground)
    assert metric_column("lesion_contrast")[1:] == ("lesion_contrast", Region.lesions)
    with pytest.raises(
        RegistryError, match="no metric 'ssim_lesion' is installed; the nearest are mae_lesion, psnr_lesion"
    ):
        metric_column("ssim_lesion")


def test_how_metrics_are_shown_is_known_without_torch() -> None:
    code = (
        "import sys; from fedsynth.benchmarks.tables.metric import Metric\n"
        "from fedsynth.evaluation.columns import metric_columns\n"
        "print(len([Metric.of(name) for name in metric_columns()]), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["15", "False"]
