"""How metrics are shown."""

from __future__ import annotations

import pytest

from fedsynth.benchmarks.records.record import METRICS
from fedsynth.benchmarks.tables.metric import Metric


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
    assert column in METRICS
    assert (metric.label, metric.unit, metric.sign) == (label, unit, sign)
