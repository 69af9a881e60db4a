"""How metrics are shown."""

from __future__ import annotations

import pytest

from fedsynth.benchmarks.tables.metric import Metric, installed
from fedsynth.evaluation.columns import metric_columns
from fedsynth.registry import RegistryError


@pytest.mark.parametrize(
    ("column", "label", "unit", "sign"),
    [
        ("psnr", "PSNR", " dB", 1),
        ("ssim_fg", "SSIM x 100 in the foreground", "", 1),
        ("mae", "MAE", "", -1),
        ("hf_nmse", "HF-NMSE", "", -1),
        ("ms_ssim", "MS-SSIM x 100", "", 1),
        ("vif", "VIF x 100", "", 1),
        ("psnr_lesion", "PSNR in lesions", " dB", 1),
        ("nmse_lesion", "NMSE in lesions", "", -1),
        ("lesion_contrast", "Lesion contrast x 100", "", 1),
    ],
)
def test_a_column_is_told(column: str, label: str, unit: str, sign: int) -> None:
    metric = Metric.of(column)
    assert column in metric_columns()
    assert (metric.label, metric.unit, metric.sign) == (label, unit, sign)


def test_all_that_a_table_says_of_a_metric_comes_from_the_metric() -> None:
    for column, (metric, name, _) in metric_columns().items():
        shown = Metric.of(column)
        assert (shown.digits, shown.bound, abs(shown.scale)) == (metric.digits, metric.negligible, metric.times)
        assert shown.sign == (1 if metric.better == "higher" else -1)
        assert metric.definition in shown.sentence, name
        assert metric.definition, name


def test_a_metric_that_is_not_installed_is_refused_by_name_or_left_out() -> None:
    with pytest.raises(RegistryError, match=r"^no metric 'vip' is installed; the nearest are vif"):
        Metric.of("vip")
    with pytest.raises(RegistryError, match="no metric 'vif_fg' is installed; the nearest are vif"):
        Metric.of("vif_fg")
    assert [own.column for own in installed(["psnr", "lpips", "mae_lesion"])] == ["psnr", "mae_lesion"]
