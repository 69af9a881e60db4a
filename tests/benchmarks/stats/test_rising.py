"""Whether validation still rose, on curves worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.benchmarks.stats.rising import rising
from fedsynth.benchmarks.stats.scores import Floats
from fedsynth.benchmarks.stats.validation_curve import ValidationCurve


def curve(rounds: Floats, psnr: Floats) -> ValidationCurve:
    return ValidationCurve(rounds, psnr, np.zeros_like(rounds), np.zeros_like(rounds), {})


def test_a_line_gains_its_slope_times_the_last_quarter() -> None:
    rounds = np.arange(1.0, 41)
    assert rising(curve(rounds, 20 + 0.03 * rounds)) == pytest.approx(0.3)
    assert rising(curve(rounds, 20 - 0.03 * rounds)) == pytest.approx(-0.3)
    bent = np.where(rounds <= 30, 0.5 * rounds, 15 + 0.01 * (rounds - 30))
    assert rising(curve(rounds, bent)) == pytest.approx(0.1)


def test_of_rounds_that_were_validated() -> None:
    rounds = np.arange(5.0, 101, 5)  # every fifth: 80, 85, ..., 100 are within the last quarter, 75 is not
    jump = np.where(rounds > 75, 21.0, 10.0)
    assert rising(curve(rounds, jump)) == pytest.approx(0, abs=1e-9)
    assert rising(curve(rounds, np.polyval([0.001, 0, 20], rounds))) == pytest.approx(
        25 * np.polyfit(rounds[15:], np.polyval([0.001, 0, 20], rounds)[15:], 1)[0]
    )


def test_where_the_last_quarter_has_fewer_than_three_the_last_three_are_taken() -> None:
    rounds = np.array([3.0, 6, 9, 12])
    assert rising(curve(rounds, np.array([10.0, 16.0, 17.0, 18.0]))) == pytest.approx(1.0)  # 1 dB in 3 of 12 rounds
    assert rising(curve(rounds, np.array([10.0, 16.0, 19.0, 18.0]))) == pytest.approx(1.0)  # (18 - 16) / 6 a round


def test_two_points_are_too_few() -> None:
    rounds = np.array([6.0, 12])
    assert rising(curve(rounds, rounds)) is None
