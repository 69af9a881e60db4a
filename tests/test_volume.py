"""One NIfTI volume: read as the head it was written from or as nibabel reads it, or refused."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from volumes import SCANS, SHAPE, SPACING, dataset, four_subjects, head, sampled, write

from fedsynth.datasets import volume
from fedsynth.federation import FederationError


def test_all_48_orientations_read_as_one(tmp_path):
    expected, affine = sampled()
    for order in permutations(("RL", "AP", "SI")):
        for codes in product(*order):
            read = volume.read(write(tmp_path / "v.nii", *sampled(codes)))
            np.testing.assert_array_equal(read.voxels, expected.astype(np.float32), err_msg="".join(codes))
            np.testing.assert_allclose(read.affine, affine, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("v.nii", {"dtype": np.int16, "slope": 0.05}, 0.026),
        ("v.nii", {"dtype": np.int16, "order": ">"}, 0.51),
        ("v.nii", {"dtype": np.int16, "slope": 0.05, "order": ">"}, 0.026),
        ("v.nii", {"dtype": np.uint8, "slope": 4.0, "inter": -20.0}, 2.01),
        ("v.nii", {"dtype": np.int32}, 0.51),
        ("v.nii", {"dtype": np.uint16}, 0.51),
        ("v.nii", {"dtype": np.float64, "order": ">"}, 1e-4),
        ("v.nii.gz", {"dtype": np.float64}, 1e-4),
        ("v.nii.gz", {"kind": nibabel.Nifti2Image}, 1e-4),
        ("v.img", {"kind": nibabel.Nifti1Pair, "dtype": np.int16}, 0.51),
        ("v.hdr", {"kind": nibabel.Nifti1Pair, "order": ">"}, 1e-4),
        ("vé 1.nii", {}, 1e-4),
    ],
)
def test_any_data_type_byte_order_and_container_reads_as_the_same_intensities(tmp_path, name, options, tolerance):
    read = volume.read(write(tmp_path / name, *sampled("PSR"), **options))
    assert read.voxels.dtype == np.float32
    assert np.abs(read.voxels - sampled()[0]).max() <= tolerance


def test_an_oblique_volume_takes_its_nearest_axes_and_keeps_its_voxels(tmp_path):
    cosine, sine = np.cos(0.3), np.sin(0.3)
    turn = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    _, affine = sampled("ILP")
    points = np.stack([*np.indices((12, 21, 26)), np.ones((12, 21, 26))], axis=-1) @ (turn @ affine).T
    read = volume.read(write(tmp_path / "v.nii", head(points[..., :3]), turn @ affine))
    assert nibabel.aff2axcodes(read.affine) == ("R", "A", "S")
    corners = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ read.affine.T
    np.testing.assert_allclose(read.voxels, head(corners[..., :3]), atol=0.01)
    np.testing.assert_allclose(read.spacing, SPACING, rtol=1e-5)


def test_a_fourth_axis_of_one_is_no_obstacle(tmp_path):
    voxels, affine = sampled()
    np.testing.assert_array_equal(
        volume.read(write(tmp_path / "v.nii", voxels[..., None], affine)).voxels, voxels.astype(np.float32)
    )


def test_the_clip_level_and_white_are_those_worked_by_hand(tmp_path):
    voxels = np.full((10, 10, 100), 5.0)
    voxels[:, :, :20] = 100.0
    voxels[0, 0, :20] = 200.0  # 20 of 2000: the 99.5th percentile of the tissue
    assert volume.clip_level(voxels) == 25.0  # a quarter of the tissue's median
    assert volume.read(write(tmp_path / "v.nii", voxels, np.eye(4))).white == pytest.approx(1.08 * 200)


@pytest.mark.parametrize("stripped", [False, True])
def test_the_foreground_is_the_head_filled_and_without_specks(stripped):
    x, y, z = np.indices((60, 70, 20)) - np.array([30, 35, 10]).reshape(3, 1, 1, 1)
    radius = np.sqrt((x / 22) ** 2 + (y / 28) ** 2 + (z / 40) ** 2)
    truth = radius < 1
    noise = np.random.default_rng(0).normal(0, 0 if stripped else 1 / 15, (2, *truth.shape))
    tissue = np.where(radius < 0.2, 0.02, np.where(radius < 0.9, 1.0, 0.7)) * truth  # a dark ventricle in the middle
    tissue[2:5, 3:6] = 0.8  # a marker beside the head
    found = volume.foreground(np.hypot(tissue + noise[0], noise[1]))
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98
    assert found[30, 35].all()
    assert not found[:6, :8].any()


def test_resampling_copies_interpolates_and_averages():
    assert np.array_equal(volume.resampling(6, 1.5, 6, 1.5), np.eye(6))
    assert np.array_equal(volume.resampling(7, 1.5, 4, 1.5), np.eye(7)[1:5])  # cropped: voxel 3 lies on pixel 2
    assert np.array_equal(volume.resampling(4, 1.5, 7, 1.5), np.eye(7)[:, 1:5])  # padded
    finer = volume.resampling(5, 2.0, 9, 1.0) @ np.arange(5)
    np.testing.assert_allclose(finer, np.arange(9) / 2)
    coarser = volume.resampling(40, 1.0, 20, 2.0)
    np.testing.assert_allclose(coarser[5:15].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(coarser[10, 18:23], [0, 0.25, 0.5, 0.25, 0], atol=1e-6)
    assert coarser[0].sum() == pytest.approx(0.75)  # beside the border, what lies outside is dark


def test_a_real_scan_reads_as_nibabel_reads_it():
    image = nibabel.load(SCANS / "anatomical.nii")  # int16, big-endian, left-anterior-superior
    read = volume.read(SCANS / "anatomical.nii")
    np.testing.assert_array_equal(read.voxels, image.get_fdata()[::-1])
    np.testing.assert_allclose(read.affine @ [0, 0, 0, 1], image.affine @ [image.shape[0] - 1, 0, 0, 1])
    moved = volume.read(SCANS / "reoriented_anat_moved.nii")  # float32, big-endian, right-anterior-superior
    np.testing.assert_array_equal(moved.voxels, nibabel.load(SCANS / "reoriented_anat_moved.nii").get_fdata())
    assert volume.read(SCANS / "standard.nii.gz").voxels.shape == (4, 5, 7)


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (
            "example4d.nii.gz",
            r"is 4-D, of shape \(128, 96, 24, 2\), where one 3-D volume is expected; save the one to use by itself",
        ),
        ("example_nifti2.nii.gz", r"is 4-D, of shape \(32, 20, 12, 2\)"),
        ("functional.nii", r"is 4-D, of shape \(17, 21, 3, 20\)"),
        ("resampled_anat_moved.nii", r"\d+ voxels are NaN or infinite"),
        ("row_major.dconn.nii", "is a Cifti2Image, not a NIfTI volume; convert it"),
        ("analyze.hdr", "is a Spm2AnalyzeImage, not a NIfTI volume"),
        ("nifti1.hdr", r"nifti1.hdr is truncated or damaged \(.*nifti1.img"),
        ("minc1_1_scale.mnc", "is a Minc1Image, not a NIfTI volume"),
        ("T1.PAR", "T1.PAR"),
        ("README.rst", "cannot be read as NIfTI"),
    ],
)
def test_a_real_file_that_is_no_volume_is_refused(scan, message):
    with pytest.raises(FederationError, match=message):
        volume.read(SCANS / scan)


def rewritten(**fields):
    """A damage that sets header fields in place, leaving the voxels alone."""

    def damage(path: Path) -> None:
        raw = bytearray(gzip.decompress(path.read_bytes()))
        header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        raw[:348] = header.binaryblock
        path.write_bytes(gzip.compress(bytes(raw)))

    return damage


def bytes_of(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def voxels_of(change):
    def damage(path: Path) -> None:
        voxels, affine = sampled()
        write(path, change(voxels) if change(voxels) is not None else voxels, affine)

    return damage


def colour(path: Path) -> None:
    voxels = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def flipped_bit(raw: bytes) -> bytes:
    """A bit of the stored checksum: every voxel still decompresses."""
    return raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:]


def spot(value):
    def change(voxels):
        voxels = voxels.copy()
        voxels[3, 4, 5] = voxels[10, 10, 10] = value
        return voxels

    return change


REFUSALS = {
    "four dimensions": (
        voxels_of(lambda v: np.stack([v, v], -1)),
        r"is 4-D, of shape \(21, 26, 12, 2\), .* save the one",
    ),
    "a plane": (voxels_of(lambda v: v[:, :, 5]), r"is 2-D, of shape"),
    "colour": (colour, r"holds colour voxels; export one grey value"),
    "complex": (lambda p: write(p, sampled()[0] + 1j, np.eye(4), np.complex64), r"holds complex64 voxels"),
    "NaN": (voxels_of(spot(np.nan)), r"2 voxels are NaN or infinite, the first at \(3, 4, 5\); export it without"),
    "infinite": (voxels_of(spot(-np.inf)), r"2 voxels are NaN or infinite"),
    "zero": (voxels_of(lambda v: 0 * v), r"all its voxels lie between 0 and 0, no image; leave the subject out"),
    "constant": (voxels_of(lambda v: 0 * v + 7), r"between 7 and 7"),
    "negative": (voxels_of(lambda v: -v), r"between -[\d.]+ and -?0, no image"),
    "standardised": (voxels_of(lambda v: (v - v.mean()) / v.std()), r"\d+% of its voxels are far below 0"),
    "no affine": (rewritten(srow_x=0), r"its affine .* cannot be inverted; correct the header's sform or qform"),
    "NaN affine": (rewritten(srow_y=np.nan), r"its affine .* cannot be inverted"),
    "metres": (
        lambda p: write(p, sampled()[0], np.diag([0.004, 0.004, 0.006, 1])),
        r"voxels of 0.004 x 0.004 x 0.006 mm",
    ),
    "larger in the header": (
        rewritten(dim=[3, 21, 26, 13, 1, 1, 1, 1]),
        r"claims 28744 bytes, the file holds 26560; restore",
    ),
    "smaller in the header": (rewritten(dim=[3, 21, 26, 11, 1, 1, 1, 1]), r"claims 24376 bytes, the file holds more"),
    "gigabytes in the header": (rewritten(dim=[3, 1000, 1000, 1000, 1, 1, 1, 1]), r"claims 4000000352 bytes"),
    "terabytes in the header": (
        rewritten(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        r"claims shape \(32767, 32767, 32767\), beyond",
    ),
    "no extent": (rewritten(dim=[3, 21, 0, 12, 1, 1, 1, 1]), r"claims shape \(21, 0, 12\)"),
    "negative extent": (rewritten(dim=[3, 21, -26, 12, 1, 1, 1, 1]), r"T1.nii.gz"),
    "no such data type": (rewritten(datatype=999), r"cannot be read as NIfTI \(.*999.*\); restore it"),
    "another offset": (rewritten(vox_offset=1e9), r"claims 10000262\d\d bytes, the file holds 26560"),
    "cut short": (bytes_of(lambda raw: raw[: len(raw) // 2]), r"is truncated or damaged \(Compressed file ended"),
    "cut in the header": (
        bytes_of(lambda raw: raw[:40]),
        r"T1.nii.gz cannot be read as NIfTI .*; restore it from its source",
    ),
    "checksum": (bytes_of(flipped_bit), r"is truncated or damaged \(CRC check failed"),
    "overwritten": (bytes_of(lambda raw: raw[:2000] + bytes(500) + raw[2500:]), r"is truncated or damaged"),
    "not a gzip": (bytes_of(gzip.decompress), r"T1.nii.gz cannot be read as NIfTI"),
    "empty": (bytes_of(lambda raw: b""), r"cannot be read as NIfTI \(Empty file"),
    "text": (bytes_of(lambda raw: gzip.compress(b"subject,age\n" * 100)), r"cannot be read as NIfTI"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), r"cannot be read \(Is a directory\)"),
    "a broken link": (lambda path: (path.unlink(), path.symlink_to("gone")), r"cannot be read \(No such file"),
    "a link to itself": (lambda path: (path.unlink(), path.symlink_to("T1.nii.gz")), r"T1.nii.gz"),
    "another shape": (
        lambda path: write(path, *sampled(shape=(21, 26, 11))),
        r"\(21 x 26 x 11 .* and .*cyd/T2.nii.gz \(21 x 26 x 12 .* different grids; register",
    ),
    "another place": (
        lambda path: write(path, *sampled(shift=(0.0, 1.0, 0.0))),
        r"cyd/T1.nii.gz .* and .*cyd/T2.nii.gz .* different grids",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_volume_is_refused_by_name_and_leaves_nothing(tmp_path, name):
    folder = four_subjects(tmp_path / "north")
    damage, message = REFUSALS[name]
    damage(folder / "cyd" / "T1.nii.gz")
    with pytest.raises(FederationError, match=message) as caught:
        dataset(folder).load("north", tmp_path / "cache")
    assert "cyd" in str(caught.value)
    assert "T1.nii.gz" in str(caught.value)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_a_file_as_long_as_its_header_claims_is_still_no_head(tmp_path):
    path = write(tmp_path / "v.nii")
    with path.open("r+b") as file:
        file.seek(40)
        file.write(np.array([3, 1025, 1024, 1024], "<i2").tobytes())
        file.truncate(352 + 4 * 1025 * 1024 * 1024)  # sparse: no disk is taken
    with pytest.raises(
        FederationError, match=r"claims shape \(1025, 1024, 1024\), beyond the 1073741824 voxels of any head"
    ):
        volume.read(path)


def test_a_checksum_is_read_even_where_the_voxels_end_with_a_block(tmp_path):
    path = write(tmp_path / "v.img.gz", *sampled(shape=(64, 64, 64)), kind=nibabel.Nifti1Pair)  # 1 MiB of float32
    volume.read(path)
    bytes_of(flipped_bit)(path)
    with pytest.raises(FederationError, match=r"is truncated or damaged \(CRC check failed"):
        volume.read(path)
