"""Registration finds known motions of a head to half a voxel, and its quality is judged without knowing them."""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

import nibabel
import nilearn
import numpy as np
import pytest
import SimpleITK
from sklearn.metrics import mutual_info_score
from support.volumes import acquired, off, phantom, rigid, sampled, volume

from fedsynth.datasets.volumes.itk import simpleitk
from fedsynth.datasets.volumes.mask import foreground
from fedsynth.datasets.volumes.quality import Quality, registration_quality
from fedsynth.datasets.volumes.register import Registration, coarse, find_motion
from fedsynth.datasets.volumes.volume import Volume
from fedsynth.federation import FederationError

MNI = Path(nilearn.__file__).parent / "datasets/data"
STILL = np.eye(4)
MOTION = rigid((8, -6, 10), (6, -10, 4))
OBLIQUE = rigid((20, 10, -15), (0, 0, 0))


def template(name: str) -> Volume:
    image = nibabel.load(MNI / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return volume(image.get_fdata(), image.affine)


def carried(still: Volume, motion: np.ndarray) -> Volume:
    """The same voxels with a header that says that head and grid moved together; nothing is interpolated."""
    return volume(still.voxels, motion @ still.grid.affine)


def pair(site: str = "ixi", contrast: str = "T2", edge: float = 2.0) -> tuple[Volume, Volume]:
    voxels, affine = phantom(site, edge)
    return volume(voxels["T1"], affine), volume(voxels[contrast], affine)


def test_a_motion_between_contrasts_is_found() -> None:
    fixed, still = pair(edge=5.0)
    moving = carried(still, MOTION)
    found = find_motion(fixed, moving, Registration.rigid)
    assert off(found, MOTION, fixed, moving) < 0.5
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-12)  # no stretching
    quality = registration_quality(fixed, moving, found)
    assert not quality.poor
    assert quality.mi_after > quality.mi_before
    assert quality.dice_after > max(0.9, quality.dice_before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Registration.rigid, Registration.affine])
def test_the_same_volumes_give_the_same_motion_on_any_number_of_threads(kind: Registration) -> None:
    fixed, still = pair(edge=4.0)
    moving = carried(still, MOTION)
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for number in (1, 2, 3):
            SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            found.append(find_motion(fixed, moving, kind))
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("motion", "grid", "shape", "site", "contrast"),
    [
        (STILL, STILL, (120, 120, 79), "ixi", "T2"),
        (rigid((10, 10, 10), (10, -10, 10)), STILL, (120, 120, 79), "ixi", "PD"),
        (rigid((-10, 5, -10), (-10, 10, 0)), np.diag([1.8, 2.4, 5, 1]), (130, 100, 30), "oasis", "FLAIR"),
        (rigid((5, -10, 10), (0, 5, -10)), OBLIQUE @ np.diag([2, 2, 4, 1]), (120, 120, 40), "brats", "T2"),
        (MOTION, np.diag([2, 2, 5, 1]), (120, 120, 18), "brats", "FLAIR"),  # reaches half of the head
    ],
)  # fmt: skip
def test_motions_up_to_10_mm_and_10_degrees_are_found_to_half_a_voxel(
    motion: np.ndarray, grid: np.ndarray, shape: tuple[int, int, int], site: str, contrast: str
) -> None:
    voxels, affine = phantom(site)
    placed = grid.copy()
    placed[:3, 3] = [0, 0, 15] - grid[:3, :3] @ (np.array(shape) - 1) / 2
    fixed = volume(voxels["T1"], affine)
    moving = volume(acquired(voxels[contrast], affine, motion, placed, shape), placed)
    found = find_motion(fixed, moving, Registration.rigid)
    assert off(found, motion, fixed, moving) < 0.5
    assert not registration_quality(fixed, moving, found).poor


@pytest.mark.slow
def test_a_pair_of_full_size_takes_less_than_30_seconds_of_one_core() -> None:
    fixed, still = pair(edge=1.0)  # 240 x 240 x 158 voxels
    moving = carried(still, MOTION)
    begun = process_time()
    found = find_motion(fixed, moving, Registration.rigid)
    quality = registration_quality(fixed, moving, found)
    assert process_time() - begun < 30
    assert off(found, MOTION, fixed, moving) < 0.5
    assert not quality.poor


@pytest.mark.slow
@pytest.mark.parametrize(
    "stretch",
    [STILL, MOTION, np.diag([1.03, 0.98, 1.02, 1]), rigid((-8, 6, 5), (6, -7, 4)) @ np.diag([0.92, 0.95, 0.9, 1])],
)  # fmt: skip
def test_an_affine_motion_is_found(stretch: np.ndarray) -> None:
    fixed, still = pair(edge=3.0)
    moving = carried(still, stretch)
    assert off(find_motion(fixed, moving, Registration.affine), stretch, fixed, moving) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("motion", [STILL, MOTION, rigid((20, -15, 25), (60, -80, 50))])
def test_a_moved_copy_of_the_mni152_template_is_brought_back(motion: np.ndarray) -> None:
    fixed = coarse(template("t1"), 2)
    for name in ("t1", "gm"):
        moving = carried(coarse(template(name), 2), motion)
        found = find_motion(fixed, moving, Registration.rigid)
        assert off(found, motion, fixed, moving) < 0.5
        assert not registration_quality(fixed, moving, found).poor


@pytest.mark.slow
def test_volumes_that_do_not_belong_together_are_poor() -> None:
    fixed, still = pair(edge=4.0)
    upside_down = volume(still.voxels[:, :, ::-1], still.grid.affine)
    noise = volume(np.random.default_rng(0).random(still.voxels.shape), still.grid.affine)
    for moving in (upside_down, noise, coarse(template("t1"), 4)):
        assert registration_quality(fixed, moving, find_motion(fixed, moving, Registration.rigid)).poor


def test_a_motion_that_is_wrong_is_poor() -> None:
    fixed, moving = pair(edge=5.0)
    assert not registration_quality(fixed, moving, STILL).poor
    for wrong in (
        rigid((0, 0, 0), (25, 0, 0)),
        rigid((0, 0, 180), (0, 0, 0)),
        np.diag([1.5, 1, 1, 1]),
        rigid((0, 0, 0), (900, 0, 0)),
    ):
        assert registration_quality(fixed, moving, wrong).poor


def test_the_numbers_of_quality_are_those_of_their_definitions() -> None:
    fixed, moving = pair(edge=5.0)  # coarser than `registration_quality` makes them
    quality: Quality = registration_quality(fixed, moving, STILL)
    head, other = (foreground(each.voxels, each.grid.edges) for each in (fixed, moving))
    assert quality.dice_after == pytest.approx(2 * (head & other).sum() / (head.sum() + other.sum()), abs=1e-3)
    binned = []
    for voxels in (fixed.voxels[head], moving.voxels[head]):
        binned.append(np.digitize(voxels, np.histogram_bin_edges(voxels, 32)[1:-1]))
    joint = np.unique(binned, axis=1, return_counts=True)[1] / head.sum()
    mutual = mutual_info_score(*binned)
    assert quality.mi_after == pytest.approx(1 + mutual / -(joint * np.log(joint)).sum(), abs=1e-3)
    assert quality.mi_before == quality.mi_after


def test_volumes_without_structure_are_poor() -> None:
    flat = volume(np.pad(np.ones((20, 20, 10)), 5), np.diag([3.0, 3.0, 4.0, 1]))
    quality = registration_quality(flat, flat, STILL)
    assert (quality.mi_after, quality.dice_after, quality.poor) == (1.0, 1.0, True)


def test_coarse_keeps_every_point_in_its_place() -> None:
    voxels, affine = sampled(shape=(40, 44, 24), spacing=(2.0, 2.0, 3.0))
    fine = volume(voxels, affine)
    found = coarse(fine, 6.0)
    assert found.voxels.shape == (13, 15, 12)
    np.testing.assert_allclose(found.grid.spacing, 6)
    middle = found.grid.affine @ [6, 7, 6, 1]
    place = np.linalg.solve(affine, middle)[:3]
    assert found.voxels[6, 7, 6] == pytest.approx(voxels[tuple(np.round(place).astype(int))], rel=0.02)


def test_a_volume_without_a_head_is_not_registered() -> None:
    speck = volume(np.pad(np.ones((1, 1, 1)), 1), STILL)
    for one, other in ((speck, volume(*sampled())), (volume(*sampled()), speck)):
        with pytest.raises(FederationError, match="one of the two volumes shows nothing of the size of a head"):
            find_motion(one, other, Registration.rigid)


def test_without_simpleitk_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)  # as if it were not installed
    with pytest.raises(FederationError, match=r"need SimpleITK; install it with pip install 'fedsynth\[volumes\]'"):
        simpleitk()
