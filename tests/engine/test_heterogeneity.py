"""Look-up tables as a measure of heterogeneity: tables by hand, scores against scikit-image, the phantom's shifts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from fedsynth.datasets.phantom import Phantom
from fedsynth.evaluation.heterogeneity import BINS, LookupTable, heterogeneity
from fedsynth.evaluation.metrics.psnr import psnr
from fedsynth.federation import Federation, Site, Subject, Task
from fedsynth.federation.scenario import Scenario

VARIABLE = {
    "brats": ["T1->T2", "FLAIR->T2"],
    "ixi": ["T1->T2", "T2->PD"],
    "midas": ["T1->T2", "T2->T1"],
    "oasis": ["T1->T2", "T2->FLAIR"],
}


def test_a_table_is_the_mean_target_of_each_bin() -> None:
    source = np.array([[[0.0, 0.01, 0.5, 1.0]]], np.float32)
    target = np.array([[[0.2, 0.4, 0.9, 0.1]]], np.float32)
    table = LookupTable.fit([(source, target)])
    assert BINS == 48
    np.testing.assert_allclose(table(np.float32([0, 1 / 48 - 1e-4, 0.51, 0.99])), [0.3, 0.3, 0.9, 0.1], atol=1e-6)
    np.testing.assert_allclose(table(np.float32([12.5 / 48])), [0.6])  # bin 12, halfway between the bins 0 and 24


def test_tables_add_up() -> None:
    rng = np.random.default_rng(0)
    one, two = (tuple(rng.random((2, 3, 8, 8)).astype(np.float32)) for _ in range(2))
    both, summed = LookupTable.fit([one, two]), LookupTable.fit([one]) + LookupTable.fit([two])
    np.testing.assert_allclose(both.total, summed.total)
    np.testing.assert_array_equal(both.count, summed.count)
    assert both.count.sum() == 2 * 3 * 64


def test_psnr_is_the_mean_over_slices() -> None:
    prediction, target = np.random.default_rng(1).random((2, 5, 16, 16)).astype(np.float32)
    slices = [peak_signal_noise_ratio(t, p, data_range=1) for t, p in zip(target, prediction, strict=True)]
    assert psnr(prediction, target) == pytest.approx(np.mean(slices), abs=1e-6)
    assert psnr(target, target) == 60


def made(name: str, targets: Sequence[float], source: Sequence[float] = (0.25, 0.75)) -> Site:
    """One slice each of train, val and test; the source has two levels, which in a split's target have the given levels."""
    stack = np.empty((3, 2, 4, 4), np.float16)
    stack[:, 0, :2], stack[:, 0, 2:] = (2 * level - 1 for level in source)
    stack[:, 1, :2], stack[:, 1, 2:] = (2 * level - 1 for level in targets)
    subjects = tuple(Subject(split, split, slice(row, row + 1)) for row, split in enumerate(("train", "val", "test")))
    return Site(name, ("A", "B"), stack, np.ones((3, 4, 4), bool), subjects)


def test_heterogeneity_by_hand() -> None:
    task = Task("A", "B")
    sites = {"same": made("same", (0.25, 0.75)), "swapped": made("swapped", (0.75, 0.25))}
    same, swapped = heterogeneity(Federation(sites, dict.fromkeys(sites, (task,))))
    quarter, half = -20 * np.log10(0.25), -20 * np.log10(0.5)
    assert (same["site"], same["task"]) == ("same", "A->B")
    assert same["copy_source"] == 60
    assert swapped["copy_source"] == pytest.approx(half)
    for row, other in ((same, "swapped A->B"), (swapped, "same A->B")):
        assert row["own_table"] == row["mean_image"] == 60
        assert row["pooled_table"] == pytest.approx(quarter)  # each level became 0.5
        assert row["gap"] == pytest.approx(60 - quarter)
        assert row["others"] == {other: pytest.approx(half)}


def test_only_tables_of_the_same_source_are_pooled() -> None:
    sites = {"one": made("one", (0.25, 0.75)), "two": made("two", (0.75, 0.25))}
    rows = heterogeneity(Federation(sites, {"one": (Task("A", "B"),), "two": (Task("B", "A"),)}))
    assert [row["gap"] for row in rows] == [0, 0]
    assert [row["others"] for row in rows] == [{}, {}]


def test_tables_are_fitted_on_training_subjects_only() -> None:
    site = made("one", (0.25, 0.75))
    site.images[1:, 1] = 1.0
    (row,) = heterogeneity(Federation({"one": site}, {"one": (Task("A", "B"),)}))
    wrong = -10 * np.log10((0.75**2 + 0.25**2) / 2)
    assert row["own_table"] == row["mean_image"] == pytest.approx(wrong)


def gap(cache: Path, source: str, target: str, **options: bool) -> float:
    """Mean gap in dB over the sites' tasks from `source` to `target` (any by default)."""
    dataset = Phantom(slices=4, train=4, val=1, test=3, **options)
    rows = heterogeneity(Scenario("variable", list(VARIABLE), VARIABLE).federation(dataset, cache))
    return float(np.mean([row["gap"] for row in rows if str(row["task"]).startswith(f"{source}->{target}")]))


@pytest.mark.slow
def test_the_phantoms_sites_differ_until_they_are_made_alike(tmp_path: Path) -> None:
    alike = dict.fromkeys(("same_protocol", "same_quality", "same_population", "keep_skull", "same_fov"), True)
    assert 1.5 < gap(tmp_path, "T1", "T2") < 5  # protocols, scanners, preprocessing
    assert 1.5 < gap(tmp_path, "T2", "") < 5  # and conflicting targets
    assert abs(gap(tmp_path, "T1", "T2", **alike)) < 0.4
    assert gap(tmp_path, "T2", "", **alike) > 1.5  # which no harmonisation removes
    assert gap(tmp_path, "T1", "T2", keep_skull=True) < 0.6 * gap(tmp_path, "T1", "T2")
