"""Levels of tissue and white, the head, given masks, and the shading that N4 removes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.volumes import phantom, sampled, write

from fedsynth.benchmarks.records.data_card import SKULL
from fedsynth.datasets.volumes import read_volume
from fedsynth.datasets.volumes.bias import corrected
from fedsynth.datasets.volumes.intensity import HEADROOM, bright_level, clip_level, white_level
from fedsynth.datasets.volumes.mask import dark_share, foreground, given_mask, interior
from fedsynth.datasets.volumes.volume import Grid, Volume
from fedsynth.federation import FederationError

REAL = os.environ.get("FEDSYNTH_REAL", "")


def test_the_clip_level_and_white_are_those_worked_out_by_hand() -> None:
    voxels = np.full((10, 10, 100), 5.0)
    voxels[:, :, :20] = 100.0
    voxels[0, 0, :20] = 200.0  # 20 of 2000: the 99.5th percentile of the tissue
    assert clip_level(voxels) == 25.0  # a quarter of the tissue's median
    assert bright_level(voxels) == 200
    core = np.zeros(voxels.shape, bool)
    core[2:, :, :20] = True  # no voxel of 200
    assert white_level(voxels, core) == pytest.approx(1.08 * 100)


@pytest.mark.parametrize("stripped", [False, True])
def test_the_foreground_is_the_head_with_its_holes_filled_and_without_specks(stripped: bool) -> None:
    x, y, z = np.indices((60, 70, 20)) - np.array([30, 35, 10]).reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 22) ** 2 + (y / 28) ** 2 + (z / 40) ** 2)
    truth = radius < 1
    noise = np.random.default_rng(0).normal(0, 0 if stripped else 1 / 15, (2, *truth.shape))
    tissue = np.where(radius < 0.2, 0.02, np.where(radius < 0.9, 1.0, 0.7)) * truth  # a dark ventricle in the middle
    tissue[2:5, 3:6] = 0.8  # a marker beside the head
    found = foreground(np.hypot(tissue + noise[0], noise[1]), (2, 2, 2))
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98
    assert found[30, 35].all()
    assert not found[:6, :8].any()


def scalped() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A head on voxels of 2 mm with bright scalp, dark skull and orbits, its brain alone, and where the head is."""
    x, y, z = (np.indices((96, 112, 80)) - np.array([48, 56, 36]).reshape(3, 1, 1, 1)) * 2.0
    radius = np.sqrt((x / 76) ** 2 + (y / 94) ** 2 + (z / 70) ** 2)
    brain = np.where(radius < 0.84, 500.0 + 100 * (radius < 0.5), 0)
    whole = np.where(radius < 1, np.where(radius > 0.93, 1800.0, brain), 0)
    for side in (-30, 30):  # orbits that open to the front
        eye = ((x - side) / 10) ** 2 + ((y - 78) / 20) ** 2 + ((z + 10) / 10) ** 2 < 1
        whole[eye], brain[eye] = 0, 0
    whole[(z < -56) & (radius < 1)] = 1800.0  # fat of the neck
    noise = np.random.default_rng(0).normal(0, 15, (2, *radius.shape))
    return np.hypot(whole + noise[0], noise[1]), brain, radius < 1


def test_a_head_with_its_scalp_has_no_ring_and_no_holes_and_is_as_bright_as_its_brain_alone() -> None:
    whole, brain, truth = scalped()
    edges = (2.0, 2.0, 2.0)
    head, alone = foreground(whole, edges), foreground(brain, edges)
    assert 2 * (head & truth).sum() / (head.sum() + truth.sum()) > 0.97
    inside, within = interior(head, edges), interior(alone, edges)
    assert white_level(whole, inside.core) == pytest.approx(white_level(brain, within.core), rel=0.08)
    assert bright_level(whole) > 2.5 * bright_level(brain)
    assert dark_share(whole, inside) > 0.1
    assert dark_share(brain, within) < 0.02


@pytest.mark.skipif(not REAL, reason="FEDSYNTH_REAL does not name the folder of real scans")
@pytest.mark.parametrize(
    ("scan", "skull", "window"),
    [
        ("ljubljana/patient03/study2_T1W", True, 2.0),  # how much wider the scalp made the window
        ("ljubljana/patient20/study2_T1W", True, 1.9),
        ("nichart/Subj20/T1", True, 1.5),
        ("nichart/Subj4/FL", True, 2.3),
        ("tcga/TCGA-FG-6692/t1", False, 1.0),
        ("tcga/TCGA-FG-6692/fla", False, 1.0),
    ],
)
def test_brains_of_real_heads_are_equally_bright_with_and_without_scalp(scan: str, skull: bool, window: float) -> None:
    real = read_volume(Path(REAL, f"{scan}.nii.gz"))
    inside = interior(foreground(real.voxels, real.grid.edges), real.grid.edges)
    white = white_level(real.voxels, inside.core)
    assert 0.45 < np.median(real.voxels[inside.core]) / white < 0.75
    assert HEADROOM * bright_level(real.voxels) / white == pytest.approx(window, abs=0.2)
    assert (dark_share(real.voxels, inside) >= SKULL) is skull


@pytest.mark.parametrize("edges", [(2.0, 2.0, 2.0), (1.0, 1.0, 5.0), (8.0, 8.0, 8.0)])
def test_the_core_lies_where_depth_and_height_say(edges: tuple[float, float, float]) -> None:
    shape = tuple(round(200 / edge) for edge in edges)
    x, y, z = (edge * i + edge / 2 - 100 for edge, i in zip(edges, np.indices(shape), strict=True))
    radius = np.sqrt(x * x + y * y + z * z)
    inside = interior(radius < 70, edges)
    slack = 0.8 * max(edges)
    assert (radius[inside.core] < 55 + slack).all()
    assert (z[inside.core] > -20 - 2 * slack).all()
    assert inside.core[(radius < 55 - slack) & (z > -20 + 2 * slack)].mean() >= 0.9 * np.prod(
        [min(1, e / 2) for e in edges]
    )
    assert ((radius[inside.shell] > 55 - slack) & (radius[inside.shell] < 66 + slack)).all()


def test_air_that_is_not_black_is_refused_and_a_brain_that_fills_its_volume_is_not(tmp_path: Path) -> None:
    whole, _, _ = scalped()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    with pytest.raises(
        FederationError, match=r"air at its sides has an intensity of 10\d\d.*, where 0 is expected; subtract"
    ):
        read_volume(write(tmp_path / "offset.nii.gz", whole + 1000, affine))
    read_volume(write(tmp_path / "whole.nii.gz", whole, affine))
    read_volume(write(tmp_path / "cropped.nii.gz", whole[24:72, 24:88, 20:60], affine))


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
    head = foreground(still, grid.edges)
    clean = corrected(Volume(still, grid)).voxels[head]
    found = corrected(Volume(still * shading, grid)).voxels[head]
    left, before = np.log(found / clean), np.log(shading[head])
    assert before.std() > 0.15
    assert left.std() < 0.15 * before.std()
    np.testing.assert_array_equal(found, corrected(Volume(still * shading, grid)).voxels[head])
