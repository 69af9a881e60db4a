"""Reference lines against plain numpy: a look-up table worked bin by bin, the mean image, the noise-free target; newcomers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federations import federation, site

from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.phantom.scanner import Scan
from fedsynth.evaluation.references import measured_lines
from fedsynth.federation import Conditions, Federation, Site, Task
from fedsynth.federation.intensities import Normalisation, rescaled
from fedsynth.federation.scenario import Scenario, with_few

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
