"""Levels of tissue and white, the head, given masks, and the shading that N4 removes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.volumes import phantom, sampled, write

from fedsynth.datasets.volumes import read_volume
from fedsynth.datasets.volumes.bias import corrected
from fedsynth.datasets.volumes.intensity import clip_level, white_level
from fedsynth.datasets.volumes.mask import foreground, given_mask
from fedsynth.datasets.volumes.volume import Grid, Volume
from fedsynth.federation import FederationError


def test_the_clip_level_and_white_are_those_worked_out_by_hand() -> None:
    voxels = np.full((10, 10, 100), 5.0)
    voxels[:, :, :20] = 100.0
    voxels[0, 0, :20] = 200.0  # 20 of 2000: the 99.5th percentile of the tissue
    assert clip_level(voxels) == 25.0  # a quarter of the tissue's median
    assert white_level(voxels) == pytest.approx(1.08 * 200)


@pytest.mark.parametrize("stripped", [False, True])
def test_the_foreground_is_the_head_with_its_holes_filled_and_without_specks(stripped: bool) -> None:
    x, y, z = np.indices((60, 70, 20)) - np.array([30, 35, 10]).reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 22) ** 2 + (y / 28) ** 2 + (z / 40) ** 2)
    truth = radius < 1
    noise = np.random.default_rng(0).normal(0, 0 if stripped else 1 / 15, (2, *truth.shape))
    tissue = np.where(radius < 0.2, 0.02, np.where(radius < 0.9, 1.0, 0.7)) * truth  # a dark ventricle in the middle
    tissue[2:5, 3:6] = 0.8  # a marker beside the head
    found = foreground(np.hypot(tissue + noise[0], noise[1]))
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98
    assert found[30, 35].all()
    assert not found[:6, :8].any()


def test_a_given_mask_is_turned_to_the_volumes_axes(tmp_path: Path) -> None:
    voxels, affine = sampled("LPI")
    volume = read_volume(write(tmp_path / "v.nii.gz", voxels, affine))
    for dtype, value in ((np.uint8, 1), (np.int16, 255), (np.float32, 1)):
        found = given_mask(write(tmp_path / "mask.nii.gz", value * (voxels > 300), affine, dtype), volume.grid)
        assert found.voxels.dtype == bool
        np.testing.assert_array_equal(found.voxels, volume.voxels > 300)


@pytest.mark.parametrize(
    ("codes", "change", "message"),
    [
        ("RAS", lambda v: v, r"holds \d+ values from -?0 to [\d.]+, where a mask holds 0 and one other; give the mask"),
        ("RAS", lambda v: 0 * v, r"holds 1 values from -?0 to -?0, where a mask holds"),
        ("RAS", lambda v: np.where(v > 300, 1, 2), r"holds 2 values from 1 to 2"),
        ("RAS", lambda v: np.where(v > 300, np.nan, 0), r"voxels are NaN or infinite"),
        ("RAS", lambda v: (v > 300)[:, :, 1:], r"mask.nii \(21 x 26 x 11 .* is a mask on another grid than .* \(21 x 26 x 12 "),
    ],
)  # fmt: skip
def test_anything_but_a_mask_is_refused(
    tmp_path: Path, codes: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    voxels, affine = sampled(codes)
    grid = Grid((21, 26, 12), affine)
    with pytest.raises(FederationError, match=message):
        given_mask(write(tmp_path / "mask.nii", change(voxels), affine), grid)


@pytest.mark.slow
def test_n4_removes_most_of_a_known_shading() -> None:
    voxels, affine = phantom(edge=4.0)
    still = voxels["PD"]
    x, y, z = np.indices(still.shape) / np.array(still.shape).reshape(3, 1, 1, 1) - 0.5
    shading = np.exp(0.8 * y - 0.5 * x * x + 0.5 * z).astype(np.float32)
    grid = Grid(still.shape, affine)
    head = foreground(still)
    clean = corrected(Volume(still, grid)).voxels[head]
    found = corrected(Volume(still * shading, grid)).voxels[head]
    left, before = np.log(found / clean), np.log(shading[head])
    assert before.std() > 0.15
    assert left.std() < 0.15 * before.std()
    np.testing.assert_array_equal(found, corrected(Volume(still * shading, grid)).voxels[head])
