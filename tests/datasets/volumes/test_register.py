"""Registration finds known motions of a head to half a voxel, and its quality is judged without knowing them."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import nibabel
import nilearn
import numpy as np
import pytest
import SimpleITK
from support.volumes import acquired, off, phantom, rigid, sampled, volume

from fedsynth.datasets.volumes.itk import simpleitk
from fedsynth.datasets.volumes.mask import foreground
from fedsynth.datasets.volumes.quality import EDGE, LEAST_GAIN, alignment, checkerboard
from fedsynth.datasets.volumes.read import read_volume
from fedsynth.datasets.volumes.register import Registration, coarse, find_motion
from fedsynth.datasets.volumes.volume import Volume
from fedsynth.federation import FederationError

MNI = Path(nilearn.__file__).parent / "datasets/data"
REAL = os.environ.get("FEDSYNTH_REAL", "")
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
    quality = alignment(fixed, moving, found)
    assert not quality.poor
    assert quality.fault == ""
    assert quality.mi_after > quality.mi_before


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
    assert not alignment(fixed, moving, found).poor


@pytest.mark.slow
def test_a_pair_of_full_size_takes_less_than_30_seconds_of_one_core() -> None:
    fixed, still = pair(edge=1.0)  # 240 x 240 x 158 voxels
    moving = carried(still, MOTION)
    begun = process_time()
    found = find_motion(fixed, moving, Registration.rigid)
    quality = alignment(fixed, moving, found)
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
        assert not alignment(fixed, moving, found).poor


@pytest.mark.slow
def test_volumes_that_do_not_belong_together_are_poor() -> None:
    fixed, still = pair(edge=4.0)
    upside_down = volume(still.voxels[:, :, ::-1], still.grid.affine)
    noise = volume(np.random.default_rng(0).random(still.voxels.shape), still.grid.affine)
    for moving in (upside_down, noise, coarse(template("t1"), 4)):
        assert alignment(fixed, moving, find_motion(fixed, moving, Registration.rigid)).poor


def test_a_motion_that_is_wrong_is_poor() -> None:
    fixed, moving = pair(edge=5.0)
    assert not alignment(fixed, moving, STILL).poor
    for wrong in (
        rigid((0, 0, 0), (25, 0, 0)),
        rigid((0, 0, 180), (0, 0, 0)),
        np.diag([1.5, 1, 1, 1]),
        rigid((0, 0, 0), (900, 0, 0)),
    ):
        assert alignment(fixed, moving, wrong).poor


def test_noisy_contrasts_that_tell_little_of_each_other_are_good_where_they_lie_on_each_other() -> None:
    fixed, still = pair(edge=4.0)
    random = np.random.default_rng(0)
    moving = volume(np.abs(still.voxels + random.normal(0, 200, still.voxels.shape)), still.grid.affine)
    quality = alignment(fixed, moving)
    assert quality.mi_after < 1.08
    assert (quality.poor, quality.fault) == (False, "")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (rigid((0, 0, 0), (12, 0, 0)), "8 mm left"),  # the points lie 12 mm to the right in the moving volume
        (rigid((0, 0, 0), (-5, -5, 5)), "right and front and down"),
        (rigid((8, 0, 0), (0, 0, 0)), "about the axis from left to right"),
        (rigid((0, -4, 0), (0, 0, 0)), "4 degrees about the axis from back to front"),
        (rigid((0, 0, 0), (0, 4, 0)), "4 mm back"),
    ],
)
def test_a_deliberate_error_is_seen_and_the_message_says_what_would_undo_it(error: np.ndarray, words: str) -> None:
    fixed, still = pair(edge=4.0)
    moved = carried(still, error)
    quality = alignment(fixed, moved)
    assert quality.motion is None
    assert quality.poor
    assert quality.gain < 0
    assert words in quality.fault
    assert f"{quality.mi_after:.4f}" in quality.fault
    assert f"{quality.mi_after - quality.gain:.4f}" in quality.fault
    assert not alignment(fixed, moved, error).poor


def test_a_mirrored_contrast_is_named() -> None:
    fixed, still = pair(edge=4.0)
    mirrored = volume(still.voxels[::-1], still.grid.affine)
    quality = alignment(fixed, mirrored)
    assert quality.mirror_gain < -LEAST_GAIN
    assert "for its mirror image, left for right" in quality.fault
    assert alignment(fixed, still).mirror_gain > LEAST_GAIN


def test_alignment_takes_less_than_two_seconds_of_one_core() -> None:
    fixed, moving = pair(edge=1.0)  # 240 x 240 x 158 voxels
    begun = process_time()
    alignment(fixed, moving)
    assert process_time() - begun < 2


def test_the_mutual_information_of_a_volume_with_itself_is_2_and_with_noise_1() -> None:
    fixed, _ = pair(edge=5.0)
    noise = volume(np.random.default_rng(0).random(fixed.voxels.shape), fixed.grid.affine)
    assert alignment(fixed, fixed).mi_after == pytest.approx(2, abs=1e-6)
    assert alignment(fixed, noise).mi_after == pytest.approx(1, abs=0.02)


def test_volumes_without_structure_are_poor() -> None:
    flat = volume(np.ones((20, 20, 10)), np.diag([3.0, 3.0, 4.0, 1]))
    quality = alignment(flat, flat, STILL)
    assert (quality.mi_after, quality.gain, quality.poor) == (1.0, 0.0, True)
    assert alignment(volume(np.zeros((20, 20, 10)), flat.grid.affine), flat).poor


def test_edges_go_on_from_tile_to_tile_of_a_checkerboard() -> None:
    stack = np.full((16, 40, 40), -1.0, np.float16)
    stack[:, 8:32, 8:32] = 1
    same, apart = checkerboard(stack, stack, 2.5), checkerboard(stack, np.roll(stack, 6, axis=2), 2.5)
    assert same.shape == (192, 5 * 192)
    borders = [np.count_nonzero(np.diff(shown[96, :192].astype(int))) for shown in (same, apart)]
    assert 0 < borders[0] < borders[1]


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


def real_pairs() -> list[Any]:
    """T1 and each other contrast of every subject under FEDSYNTH_REAL, as the folder or `extract` lays them out."""
    found = []
    for one in sorted(Path(REAL).rglob("*.nii.gz")) if REAL else ():
        if re.search(r"(^|_)t1w?\.nii\.gz$", one.name, re.IGNORECASE):
            others = (other for other in sorted(one.parent.glob("*.nii.gz")) if other != one)
            found += [pytest.param(one, other, id=f"{one.parent.name}-{other.name}") for other in others]
    return found


@pytest.fixture(scope="module")
def seen() -> Iterator[Counter[str]]:
    """How many of each deliberate error were seen; printed at the end."""
    count: Counter[str] = Counter()
    yield count
    for kind in dict.fromkeys(name.removesuffix(" of") for name in count):
        print(f"\n{kind}: {count[kind]} of {count[f'{kind} of']}", end="")


@pytest.mark.long
@pytest.mark.skipif(not REAL, reason="FEDSYNTH_REAL does not name the folder of real scans")
@pytest.mark.parametrize(("one", "other"), real_pairs())
def test_of_real_scans_no_registration_is_refused_and_deliberate_errors_are_seen(
    one: Path, other: Path, seen: Counter[str]
) -> None:
    fixed, moving = read_volume(one, None), read_volume(other, None)
    truth = find_motion(fixed, moving, Registration.rigid)
    quality = alignment(fixed, moving, truth)
    assert quality.fault == ""
    assert quality.gain > 2 * LEAST_GAIN
    fixed, moving = coarse(fixed, EDGE), coarse(moving, EDGE)  # as `alignment` itself makes them
    still = carried(moving, np.linalg.inv(truth))  # as if it had been acquired in register
    axes = [sign * axis for axis in np.eye(3) for sign in (-1, 1)]
    diagonals = [np.array(way) / np.sqrt(3) for way in ((1, 1, 1), (-1, 1, -1))]
    kinds = {f"{mm} mm": [rigid((0, 0, 0), mm * way) for way in (*axes[::2], diagonals[1])] for mm in (4, 8, 12)}
    kinds |= {f"{angle} degrees": [rigid(angle * way, (0, 0, 0)) for way in (*axes, *diagonals)] for angle in (4, 8)}
    for kind, errors in kinds.items():
        found = [alignment(fixed, carried(still, error)).poor for error in errors]
        seen.update({kind: sum(found), f"{kind} of": len(found)})
        assert all(found) or kind.startswith("4 ")
    mirrored = volume(still.voxels[::-1], still.grid.affine)
    seen.update({"mirrored": alignment(fixed, mirrored).fault != "", "mirrored of": 1})
    error = rigid((4, -8, 5), (8, 4, -8))  # 12 mm
    moved = carried(still, error)
    found = find_motion(fixed, moved, Registration.rigid)
    head = np.argwhere(foreground(fixed.voxels, fixed.grid.edges))[::97]
    points = fixed.grid.affine @ np.column_stack([head, np.ones(len(head))]).T
    mm = np.linalg.norm((found - error) @ points, axis=0).max()
    refused = alignment(fixed, moved, found).poor
    seen.update({"repaired to 2 mm": mm < 2, "repaired to 2 mm of": 1, "refused": refused, "refused of": 1})
    assert mm < 2 or refused
