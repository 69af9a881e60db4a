"""A subject's files become slices by each step of the chain, and slices are exported to the grid of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from omegaconf import OmegaConf
from support.volumes import SHAPE, SPACING, acquired, head, phantom, rigid, sampled, write

from fedsynth.datasets.volumes import Chain, Processed, Registration, export_volume, process, read_volume
from fedsynth.datasets.volumes.mask import foreground
from fedsynth.datasets.volumes.resample import mask_onto, onto, reached
from fedsynth.datasets.volumes.slices import choose_slices, resampling
from fedsynth.datasets.volumes.volume import Grid, Volume
from fedsynth.federation import FederationError

SMALL: dict[str, Any] = {"size": 32, "spacing": 4.0}


def subject(folder: Path, codes: str = "RAS", **options: Any) -> dict[str, Path]:
    """T1 and T2 of the analytic head."""
    return {c: write(folder / f"{c}.nii.gz", *sampled(codes, contrast=c), **options) for c in ("T1", "T2")}


def pixels(made: Processed) -> np.ndarray:
    """World coordinates of every pixel, mm `[N, H, W, 3]`."""
    n, _, h, w = made.images.shape
    _, row, column = np.indices((n, h, w))
    index = np.broadcast_to(np.array(made.rows)[:, None, None], (n, h, w))
    return np.stack([row, column, index, np.ones((n, h, w))], axis=-1) @ made.affine.T[:, :3]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IRA"])
@pytest.mark.parametrize("options", [{}, {"dtype": np.int16, "slope": 0.05}])
def test_slices_hold_the_head_where_the_affine_says_to_1_percent(
    tmp_path: Path, codes: str, options: dict[str, Any]
) -> None:
    made = process("ann", subject(tmp_path, codes, **options), Chain(**SMALL))
    assert made.images.dtype == np.float16
    assert made.images.shape == (len(made.rows), 2, 32, 32)
    assert made.masks.shape == (len(made.rows), 32, 32)
    for i, contrast in enumerate(("T1", "T2")):
        truth = 2 * (head(pixels(made), contrast) / made.white[contrast]).clip(0, 1) - 1
        inside = np.zeros_like(made.masks)
        inside[:, 3:29, 6:26] = True  # the volume; beside it lies padding
        assert np.abs(made.images[:, i] - truth)[inside].max() < 0.02
        assert (made.images[:, i][~inside] == -1).all()
        assert made.spacing[contrast] == pytest.approx(SPACING)
        np.testing.assert_allclose(made.source_affines[contrast], sampled()[1], atol=1e-4)
    assert list(made.quality) == ["T2"]
    assert made.quality["T2"].motion is None
    assert made.lost == 0


def test_rows_run_from_front_to_back_and_columns_from_left_to_right(tmp_path: Path) -> None:
    made = process("ann", subject(tmp_path, "PIL"), Chain(**SMALL))
    first, last = made.affine @ [0, 0, made.rows[0], 1], made.affine @ [31, 31, made.rows[-1], 1]
    assert (first[:3] < last[:3]).tolist() == [True, False, True]


@pytest.mark.parametrize(("size", "spacing"), [(32, 4.0), (24, 6.0), (60, 2.0), (30, 4.0), (27, 5.0)])
def test_pixels_are_square_whatever_the_shape_of_voxels(tmp_path: Path, size: int, spacing: float) -> None:
    """A ball on voxels of 2 x 4 x 3 mm is as wide as high, and in its place."""
    affine = np.diag([2.0, 4.0, 3.0, 1])
    affine[:3, 3] = [-60, -64, -36]
    places = np.stack([*np.indices((61, 33, 25)), np.ones((61, 33, 25))], axis=-1) @ affine.T
    ball = (1000 * (np.linalg.norm(places[..., :3], axis=-1) < 36)).astype(np.float32)
    ball[30, 16, 12] = 999
    made = process("ann", {"T1": write(tmp_path / "v.nii", ball, affine)}, Chain(size=size, spacing=spacing))
    middle = made.images[made.rows.index(12), 0] > 0
    high, wide = np.ptp(np.argwhere(middle), axis=0) * spacing
    assert abs(high - wide) <= spacing + 4
    assert abs(wide - 72) <= 2 * spacing + 2
    centre = pixels(made)[made.rows.index(12)][middle].mean(0)
    np.testing.assert_allclose(centre, 0, atol=0.5)


def test_slices_are_those_with_foreground_evenly_spaced() -> None:
    whole = np.zeros((5, 5, 10), bool)
    for k, area in enumerate([0, 5, 10, 15, 20, 20, 15, 10, 5, 0]):
        whole[:, :, k].flat[:area] = True
    shown = np.ones(10, bool)
    assert choose_slices(whole, shown, 0.5, 0).tolist() == [2, 3, 4, 5, 6, 7]
    assert choose_slices(whole, shown, 0.5, 3).tolist() == [3, 5, 7]
    assert choose_slices(whole, shown, 0.01, 100).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert choose_slices(whole, np.arange(10) > 3, 0.5, 0).tolist() == [4, 5, 6, 7]
    assert choose_slices(whole & False, shown, 0.5, 0).tolist() == []


def test_resampling_copies_interpolates_and_averages() -> None:
    assert np.array_equal(resampling(6, 1.5, 6, 1.5), np.eye(6))
    assert np.array_equal(resampling(7, 1.5, 4, 1.5), np.eye(7)[1:5])  # cropped: voxel 3 lies on pixel 2
    assert np.array_equal(resampling(4, 1.5, 7, 1.5), np.eye(7)[:, 1:5])  # padded
    finer = resampling(5, 2.0, 9, 1.0) @ np.arange(5)
    np.testing.assert_allclose(finer, np.arange(9) / 2)
    coarser = resampling(40, 1.0, 20, 2.0)
    np.testing.assert_allclose(coarser[5:15].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(coarser[10, 18:23], [0, 0.25, 0.5, 0.25, 0], atol=1e-6)
    assert coarser[0].sum() == pytest.approx(0.75)  # beside the border, what lies outside is dark


def blob(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """A smooth intensity that falls to zero towards the borders."""
    x, y, z = (affine @ np.stack([*np.indices(shape), np.ones(shape)]).reshape(4, -1))[:3]
    return 1000 * np.exp(-((x / 18) ** 2 + (y / 22) ** 2 + (z / 16) ** 2) / 2).reshape(shape)


def test_a_volume_on_another_grid_keeps_its_intensities_and_averages_finer_slices() -> None:
    _, affine = sampled(shape=(42, 52, 72), spacing=(2.0, 2.0, 1.0))
    voxels, truth = blob((42, 52, 72), affine), blob(SHAPE, sampled()[1])
    fine = Volume(voxels.astype(np.float32), Grid((42, 52, 72), affine))
    coarse = Grid(SHAPE, sampled()[1])
    motion = rigid((3, -2, 4), (1.5, -2.5, 0.5))
    fine = fine._replace(grid=Grid((42, 52, 72), motion @ affine))
    found = onto(coarse, fine, motion)
    inside = reached(coarse, fine.grid, motion)
    assert np.abs(found - truth)[inside].max() < 0.02 * truth.max()  # smoothed to slices of 6 mm
    assert inside[1:, 1:, 1:].all()
    same = Grid((42, 52, 72), affine)
    assert np.abs(onto(same, fine, motion) - voxels).max() < 0.001 * voxels.max()
    mask = Volume(voxels > 300, fine.grid)
    np.testing.assert_array_equal(mask_onto(same, mask, motion), voxels > 300)
    apart = reached(coarse, coarse, rigid((0, 0, 0), (20, 0, -18)))
    assert apart[:16, :, 3:].all()  # 20 mm are 5 voxels, 18 mm are 3
    assert apart.sum() == 16 * 26 * 9


def test_a_moved_contrast_is_registered_onto_the_reference(tmp_path: Path) -> None:
    voxels, affine = phantom(edge=5.0)
    motion = rigid((6, -4, 8), (6, -8, 3))
    turned = rigid((0, 0, 20), (5, 5, 5)) @ np.array([[0, 0, 5, -70], [3.5, 0, 0, -105], [0, -4, 0, 90], [0, 0, 0, 1]])
    moved = acquired(voxels["T2"], affine, motion, turned, (60, 46, 34))
    paths = {
        "T1": write(tmp_path / "T1.nii", voxels["T1"], affine, np.int16, slope=0.5),
        "T2": write(tmp_path / "T2.nii.gz", moved, turned),
    }
    before = [hashlib.sha256(path.read_bytes()).digest() for path in paths.values()]
    made = process("ann", paths, Chain(register=Registration.rigid, size=52, spacing=5.0))
    still = process(
        "ann",
        {"T1": paths["T1"], "T2": write(tmp_path / "still.nii", voxels["T2"], affine)},
        Chain(size=52, spacing=5.0),
    )
    quality = made.quality["T2"]
    assert not quality.poor
    corners = affine @ [[16, 32, 16, 32], [16, 32, 32, 16], [8, 24, 8, 24], [1, 1, 1, 1]]
    assert np.linalg.norm(((quality.motion - motion) @ corners)[:3], axis=0).max() < 2
    assert list(made.quality) == ["T2"]
    np.testing.assert_array_equal(made.affine, still.affine)
    common = sorted(set(made.rows) & set(still.rows))
    assert len(common) >= 16
    a, b = (each.images[[each.rows.index(row) for row in common]].astype(float) for each in (made, still))
    np.testing.assert_array_equal(a[:, 0], b[:, 0])
    assert np.corrcoef(a[:, 1].ravel(), b[:, 1].ravel())[0, 1] > 0.97
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths.values()] == before


def test_slices_that_a_contrast_does_not_reach_are_left_out(tmp_path: Path) -> None:
    voxels, affine = phantom(edge=5.0)
    short = affine.copy()
    short[2, 3] += 5 * 8
    paths = {
        "T1": write(tmp_path / "T1.nii", voxels["T1"], affine),
        "T2": write(tmp_path / "T2.nii", voxels["T2"][:, :, 8:24], short),
    }
    made = process("ann", paths, Chain(register=Registration.rigid, size=52, spacing=5.0, foreground=0.05))
    assert 13 <= len(made.rows) <= 17
    assert made.rows[0] >= 7
    assert made.rows[-1] <= 24


def test_a_given_mask_is_the_foreground_and_strips(tmp_path: Path) -> None:
    paths = subject(tmp_path)
    voxels, affine = sampled()
    brain = np.zeros(SHAPE, bool)
    brain[6:15, 7:19, 3:9] = True
    mask = write(tmp_path / "mask.nii.gz", brain.astype(float), affine, np.uint8)
    kept = process("ann", paths, Chain(mask="{subject}/mask.nii.gz", **SMALL), mask)
    assert kept.rows == (3, 4, 5, 6, 7, 8)
    np.testing.assert_array_equal(kept.masks[0, 3:29, 6:27], brain[:, ::-1, 3].T)
    assert (kept.images[~np.repeat(kept.masks[:, None], 2, 1)] > -1).any()
    made = process("ann", paths, Chain(mask="{subject}/mask.nii.gz", strip=True, **SMALL), mask)
    assert (made.images[~np.repeat(made.masks[:, None], 2, 1)] == -1).all()
    assert made.white["T1"] == pytest.approx(1.08 * np.percentile(voxels[brain], 99.5), rel=0.01)
    assert kept.white["T1"] == pytest.approx(1.08 * np.percentile(voxels[voxels > 100], 99.5), rel=0.02)
    bare = process("ann", paths, Chain(strip=True, **SMALL))
    assert (bare.images[~np.repeat(bare.masks[:, None], 2, 1)] == -1).all()


@pytest.mark.slow
def test_every_volume_is_normalised_by_itself_and_bias_can_be_corrected(tmp_path: Path) -> None:
    voxels, affine = phantom(edge=4.0)
    z = np.linspace(-0.4, 0.4, voxels["T1"].shape[2])
    paths = {
        "T1": write(tmp_path / "T1.nii", voxels["PD"], affine),
        "T2": write(tmp_path / "T2.nii", 7 * voxels["PD"] * np.exp(z), affine),
    }
    plain = process("ann", paths, Chain(size=64, spacing=4.0))
    flat = process("ann", paths, Chain(size=64, spacing=4.0, bias=True))
    ratios = [np.where(m.masks, m.images[:, 1] + 1, np.nan) / (m.images[:, 0] + 1 + 1e-3) for m in (plain, flat)]
    spread = [np.nanstd(np.nanmedian(ratio.astype(float), axis=(1, 2))) for ratio in ratios]
    assert spread[0] > 0.12
    assert spread[1] < 0.25 * spread[0]
    assert 0.95 < np.nanmedian(ratios[1]) < 1.05


def test_exported_slices_lie_on_the_source(tmp_path: Path) -> None:
    paths = subject(tmp_path, "PIR")
    made = process("ann", paths, Chain(slices=5, **SMALL))
    for i, contrast in enumerate(paths):
        out = tmp_path / "out" / f"{contrast}.nii.gz"
        export_volume(made.images[:, i], made.rows, made.affine, paths[contrast], out, made.white[contrast])
        image, like = nibabel.load(out), nibabel.load(paths[contrast])
        assert image.shape == like.shape
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, like.affine)
        back, source = read_volume(out).voxels, read_volume(paths[contrast]).voxels.clip(0, made.white[contrast])
        taken = list(made.rows)
        assert np.abs(back - source)[:, :, taken].max() < 0.001 * source.max()
        assert not back[:, :, [k for k in range(SHAPE[2]) if k not in taken]].any()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["T1.nii.gz", "T2.nii.gz"]


def test_slices_are_written_onto_an_oblique_volume_of_another_contrast_by_its_motion(tmp_path: Path) -> None:
    like = (
        rigid((10, 20, 5), (3, -2, 1))
        @ np.diag([3.0, 3.0, 3.0, 1])
        @ np.array([[1, 0, 0, -12], [0, 1, 0, -15], [0, 0, 1, -10], [0, 0, 0, 1]])
    )
    voxels = np.indices((25, 31, 21)).sum(0).astype(float)
    path = write(tmp_path / "other.nii", voxels, like)
    made = process("ann", subject(tmp_path), Chain(**SMALL))
    motion = rigid((5, 5, 5), (4, 4, 4))
    export_volume(made.images[:, 0], made.rows, motion @ made.affine, path, tmp_path / "out.nii", made.white["T1"])
    found = nibabel.load(tmp_path / "out.nii").get_fdata()
    points = np.linalg.solve(motion, like @ np.stack([*np.indices(found.shape), np.ones(found.shape)]).reshape(4, -1))
    truth = head(points[:3].T).reshape(found.shape).clip(0, made.white["T1"])
    inside = found > 0
    assert inside.mean() > 0.4
    assert np.abs(found - truth)[inside].mean() < 0.03 * truth.max()  # linear, on voxels of 4 x 4 x 6 mm


def test_a_single_exported_slice_is_as_thick_as_it_was(tmp_path: Path) -> None:
    """Row 5 lies from -9 to -3 mm, which are three slices of a volume of 2 mm."""
    _, affine = sampled(shape=(21, 26, 40), spacing=(4.0, 4.0, 2.0))
    like = write(tmp_path / "like.nii", np.ones((21, 26, 40)) + np.arange(40), affine)
    made = process("ann", subject(tmp_path), Chain(**SMALL))
    flat = np.zeros((1, 32, 32))
    export_volume(flat, (5,), made.affine, like, tmp_path / "out.nii", 100.0)
    found = nibabel.load(tmp_path / "out.nii").get_fdata()
    heights = (affine @ [[0] * 40, [0] * 40, range(40), [1] * 40])[2]
    np.testing.assert_array_equal(found[10, 13] > 0, np.abs(heights + 6) <= 3)
    np.testing.assert_allclose(found[found > 0], 50, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "T1.nii.gz"}, r"T1.nii.gz is the source volume itself; write to another file"),
        ({"out": "out.mgz"}, r"out.mgz must end in .nii or .nii.gz"),
        ({"rows": (0, 1)}, r"a stack of shape \(\d+, 32, 32\) does not fit 2 slices"),
        ({"like": "gone.nii"}, r"gone.nii cannot be read \(No such file"),
    ],
)
def test_an_impossible_export_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made = process("ann", subject(tmp_path), Chain(**SMALL))
    options = {"rows": made.rows, "like": "T1.nii.gz", "out": "out.nii"} | change
    before = (tmp_path / "T1.nii.gz").read_bytes()
    with pytest.raises(FederationError, match=message):
        export_volume(
            made.images[:, 0], options["rows"], made.affine, tmp_path / options["like"], tmp_path / options["out"]
        )
    assert (tmp_path / "T1.nii.gz").read_bytes() == before
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size 0 and spacing 1.0 must be positive"),
        ({"spacing": -1.0}, "spacing -1.0 must be positive"),
        ({"spacing": float("nan")}, "spacing nan must be positive"),
        ({"slices": -1}, "slices -1 not negative"),
        ({"foreground": 0.0}, r"foreground 0.0 in \(0, 1\]"),
        ({"mask": "brain"}, r"chain.mask='brain' must be head, or a pattern .* HD-BET and SynthStrip"),
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FederationError, match=message):
        Chain(**options)


def test_hydra_knows_every_option() -> None:
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Chain), {"register": "rigid", "slices": 3}))
    assert made == Chain(register=Registration.rigid, slices=3)


def refused(paths: dict[str, Path], message: str, given: Path | None = None, **options: Any) -> None:
    with pytest.raises(FederationError, match=message):
        process("ann", paths, Chain(**SMALL | options), given)


def test_a_subject_that_cannot_be_processed_is_refused_by_file(tmp_path: Path) -> None:
    paths = subject(tmp_path)
    refused(paths, "subject ann has no FLAIR, the reference contrast; it has T1, T2", reference="FLAIR")
    refused(paths, r"chain.mask is '\{subject\}.nii', but the given mask is None", mask="{subject}.nii")
    refused(paths, r"chain.mask is 'head', but the given mask is .*T1.nii.gz", paths["T1"])
    refused(paths, r"gone.nii cannot be read \(No such file", template=str(tmp_path / "gone.nii"))
    refused(
        paths,
        r"\d+% of the foreground of .*T1.nii.gz, \d+ mm across, lies outside 10 pixels of 4.0 mm; raise dataset.chain.size",
        size=10,
    )
    for name, other in {"shape": sampled(shape=(21, 26, 11)), "place": sampled(shift=(0.0, 1.0, 0.0))}.items():
        moved = {"T1": paths["T1"], "T2": write(tmp_path / f"{name}.nii", *other)}
        refused(
            moved,
            rf"T1.nii.gz \(21 x .*{name}.nii \(21 x .* different grids; register .* dataset.chain.register=rigid",
        )
    speck = np.zeros(SHAPE)
    speck[3, 3, 3] = 100
    refused(
        {"T1": paths["T1"], "T2": write(tmp_path / "speck.nii", speck, sampled()[1])},
        r"speck.nii cannot be registered to .*T1.nii.gz: one of the two volumes shows nothing of the size of a head",
        register=Registration.rigid,
    )
    plane = write(tmp_path / "plane.nii", np.random.default_rng(0).random((40, 40, 1)), np.diag([3.0, 3, 4, 1]))
    refused(
        {"T1": plane},
        r"plane.nii: N4 finds no bias field in 40 x 40 x 1 voxels .*; use dataset.chain.bias=false",
        bias=True,
    )
    refused({"T1": tmp_path / "speck.nii"}, r"speck.nii shows nothing of the size of a head; leave subject ann out")
    mask = np.zeros(SHAPE)
    mask[0, 0, 0] = 1
    refused(
        paths,
        r"T1.nii.gz shows nothing where .*mask.nii shows the head; correct its affine or leave subject ann out",
        write(tmp_path / "mask.nii", mask, sampled()[1], np.uint8),
        mask="{subject}/mask.nii",
        strip=True,
    )


def test_noisy_contrasts_in_register_are_not_refused(tmp_path: Path) -> None:
    voxels, affine = phantom(edge=5.0)
    noisy = np.abs(voxels["T2"] + np.random.default_rng(0).normal(0, 120, voxels["T2"].shape))
    paths = {
        "T1": write(tmp_path / "T1.nii", voxels["T1"], affine),
        "T2": write(tmp_path / "T2.nii", noisy, affine),
    }
    quality = process("ann", paths, Chain(register=Registration.rigid, size=50, spacing=5.0)).quality["T2"]
    assert quality.mi_after < 1.1
    assert not quality.poor


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda voxels: np.roll(voxels, 3, axis=1), "moved 8 mm back on purpose"),  # 12 mm
        (lambda voxels: voxels[::-1], "for its mirror image"),
        (lambda voxels: voxels, ""),
    ],
)
def test_contrasts_that_do_not_lie_on_each_other_are_told_though_nothing_is_registered(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    voxels, affine = phantom(edge=4.0)
    paths = {"T1": write(tmp_path / "T1.nii", voxels["T1"], affine)}
    paths["T2"] = write(tmp_path / "T2.nii", change(voxels["T2"]), affine)
    fault = process("ann", paths, Chain(size=60, spacing=4.0)).quality["T2"].fault
    assert said in fault
    assert bool(fault) == bool(said)


@pytest.mark.slow
def test_slices_are_cut_on_a_templates_grid_and_the_affine_leads_back(tmp_path: Path) -> None:
    voxels, affine = phantom(edge=3.0)
    stretch = rigid((6, -4, 8), (6, -8, 3)) @ np.diag([1.06, 0.95, 1.04, 1])
    grid = np.diag([3.0, 3.0, 4.0, 1])
    grid[:3, 3] = [-105, -120, -60]
    paths = {
        "T1": write(tmp_path / "T1.nii", voxels["T1"], stretch @ affine),
        "T2": write(tmp_path / "T2.nii", voxels["T2"], stretch @ affine),
    }
    template = write(tmp_path / "template.nii", acquired(voxels["T1"], affine, np.eye(4), grid, (70, 80, 36)), grid)
    made = process("ann", paths, Chain(template=str(template), size=80, spacing=3.0))
    assert {contrast: quality.motion is None for contrast, quality in made.quality.items()} == {"T1": False, "T2": True}
    assert not made.quality["T1"].poor
    expected = stretch @ grid @ np.array([[0, 1, 0, -5], [-1, 0, 0, 79], [0, 0, 1, 0], [0, 0, 0, 1]])
    corners = [[20, 60, 20, 60], [20, 60, 60, 20], [5, 30, 30, 5], [1, 1, 1, 1]]
    assert np.linalg.norm(((made.affine - expected) @ corners)[:3], axis=0).max() < 1.5
    export_volume(made.images[:, 1], made.rows, made.affine, paths["T2"], tmp_path / "out.nii", made.white["T2"])
    back, source = nibabel.load(tmp_path / "out.nii").get_fdata(), nibabel.load(paths["T2"]).get_fdata()
    found = foreground(source, (3.0, 3.0, 3.0))
    inside = (back > 0) & found
    assert inside.sum() > 0.4 * found.sum()
    assert np.corrcoef(back[inside], source[inside].clip(0, made.white["T2"]))[0, 1] > 0.9
