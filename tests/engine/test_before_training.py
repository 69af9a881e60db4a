"""What is known before anything is trained: scores of what needs no training, and how much sites differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from support.federations import federation, site

from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.phantom.scanner import Scan
from fedsynth.evaluation.heterogeneity import BINS, LookupTable, heterogeneity
from fedsynth.evaluation.metrics.psnr import psnr
from fedsynth.evaluation.references import measured_lines
from fedsynth.federation import Conditions, Federation, Site, Subject, Task
from fedsynth.federation.intensities import Normalisation, rescaled
from fedsynth.federation.scenario import Scenario, with_few

# Lines of reference


TASK = Task("T1", "T2")
Lines = Mapping[tuple[str, str], Mapping[str, Any]]  # (line, selection) -> scores


def lines(of: Federation, name: str, task: str = "T1->T2") -> Lines:
    found = measured_lines(of)
    return {
        (row["line"], row["selection"]): row["scores"] for row in found if (row["site"], row["task"]) == (name, task)
    }


def unit(own: Site, split: str, contrast: str) -> np.ndarray:
    return np.asarray(own.images[own.rows(split), own.contrasts.index(contrast)], np.float64) / 2 + 0.5


def by_hand(answer: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Means over slices. All subjects have as many, so this is the mean over subjects too."""
    error = ((answer - target) ** 2).mean((1, 2))
    return {
        "psnr": float((-10 * np.log10(error)).mean()),
        "nmse": float((error / (target**2).mean((1, 2))).mean()),
        "mae": float(np.abs(answer - target).mean()),
    }


def assert_scores(found: Mapping[str, Any], expected: Mapping[str, float]) -> None:
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_floors_are_those_of_plain_numpy() -> None:
    own = site("ixi")
    source, target = unit(own, "train", "T1"), unit(own, "train", "T2")
    asked, wanted = unit(own, "test", "T1"), unit(own, "test", "T2")
    means: dict[int, float] = {}
    for place in range(48):
        inside = np.minimum(np.floor(source * 48), 47) == place
        if inside.any():
            means[place] = float(target[inside].mean())
    answer = np.empty_like(asked)
    for index in np.ndindex(asked.shape):
        place = min(int(asked[index] * 48), 47)
        answer[index] = means.get(place, np.interp(place, list(means), list(means.values())))
    found = lines(federation(("ixi",)), "ixi")
    assert_scores(found["own_table", "selected"], by_hand(answer, wanted))
    assert_scores(found["mean_image", "selected"], by_hand(np.broadcast_to(target.mean(0), wanted.shape), wanted))
    assert_scores(found["copy_source", "selected"], by_hand(asked, wanted))
    assert {selection for _, selection in found} == {"selected"}
    assert "noise_free" not in {line for line, _ in found}  # nobody knows it
    assert found["own_table", "selected"]["psnr_lesion"] is None
    assert found["own_table", "selected"]["ssim_fg"] is not None


def test_a_table_of_several_sources_sees_their_mean() -> None:
    both = "T1+PD->T2"
    of = federation(("ixi",), {"ixi": [both]})
    own = of.sites["ixi"]
    mean = (unit(own, "test", "T1") + unit(own, "test", "PD")) / 2
    assert_scores(lines(of, "ixi", both)["copy_source", "selected"], by_hand(mean, unit(own, "test", "T2")))


def test_the_lines_of_a_newcomer_are_fitted_on_the_subjects_that_it_adapts_on() -> None:
    sites = {"ixi": site("ixi"), "oasis": site("oasis", train=4)}
    tasks = {"ixi": (TASK,)}
    of = Federation(sites, tasks, {"oasis": (TASK,)}, Conditions(adapt=[1, 3]))
    found = lines(of, "oasis")
    for count in (1, 3):
        alone = Federation({"oasis": with_few(sites["oasis"], count)}, {"oasis": (TASK,)})
        for line in ("copy_source", "mean_image", "own_table"):
            assert found[line, f"adapted-{count}"] == lines(alone, "oasis")[line, "selected"]
    assert found["own_table", "adapted-1"] != found["own_table", "adapted-3"]
    assert {line for line, selection in found if selection == "welcome"} == {"copy_source"}  # nothing to fit on


def test_what_is_asked_for_has_lines_and_a_poisoned_site_has_none() -> None:
    conditions = Conditions(asks={"ixi": ["T2->T1"]}, poisoned=0.5)
    of = replace(federation(("ixi", "oasis")), conditions=conditions)
    assert ("own_table", "asked") in lines(of, "ixi", "T2->T1")
    assert {row["site"] for row in measured_lines(of)} == {"ixi"}


# --- the noise ceiling -----------------------------------------------------------------------------------------------

SMALL = Phantom(size=32, slices=2, train=1, val=1, test=2)


def test_the_ceiling_is_the_target_without_its_noise(tmp_path: Path) -> None:
    own = SMALL.load("ixi", tmp_path)
    assert own.noise_free is not None
    clean = np.asarray(own.noise_free[:, own.contrasts.index("T2")], np.float64) / 2 + 0.5
    of = Scenario("one", ["ixi"], {"ixi": ["T1->T2"]}).federation(SMALL, tmp_path)
    found = lines(of, "ixi")
    assert_scores(found["noise_free", "selected"], by_hand(clean, unit(own, "test", "T2")))
    assert 25 < found["noise_free", "selected"]["psnr"] < 55
    assert found["noise_free", "selected"]["psnr"] > found["own_table", "selected"]["psnr"] + 5


def test_without_noise_nothing_else_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan without its noise, rendered alone, differs from `noise_free` by its white level only."""
    noisy = SMALL.render("brats")
    monkeypatch.setattr(Scan, "_noisy", lambda self, image, exposure, rng: image)
    quiet = SMALL.render("brats")
    assert noisy.noise_free is not None
    for subject, rows in ((0, slice(0, 2)), (1, slice(2, 4))):
        for channel in range(3):
            one = np.asarray(noisy.noise_free[rows, channel], np.float64) / 2 + 0.5
            other = np.asarray(quiet.images[quiet.of("test")[subject].slices, channel], np.float64) / 2 + 0.5
            inside = (one > 0.2) & (one < 0.9) & (other < 0.9)
            ratio = one[inside] / other[inside]
            assert ratio.std() < 2e-3
            assert abs(ratio.mean() - 1) < 0.1


def test_what_a_site_scales_it_scales_in_the_noise_free_images_too(tmp_path: Path) -> None:
    own = SMALL.load("ixi", tmp_path)
    for how in Normalisation:
        silent = replace(own, noise_free=own.images[own.rows("test")])  # as if there were no noise
        scaled = rescaled(silent, how)
        assert scaled.noise_free is not None
        np.testing.assert_array_equal(scaled.noise_free, scaled.images[scaled.rows("test")])


# How much sites differ


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
