"""A volume is read as the head that was written, or as nibabel reads it, or is refused by name with the remedy."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import nilearn
import numpy as np
import pytest
from support.volumes import SCANS, SHAPE, SPACING, head, sampled, write

from fedsynth.datasets.volumes import examine, read_volume
from fedsynth.federation import FederationError

MNI = Path(nilearn.__file__).parent / "datasets/data"


def test_all_48_orientations_read_as_one(tmp_path: Path) -> None:
    expected, affine = sampled()
    for order in permutations(("RL", "AP", "SI")):
        for codes in product(*order):
            found = read_volume(write(tmp_path / "v.nii", *sampled("".join(codes))))
            np.testing.assert_array_equal(found.voxels, expected.astype(np.float32), err_msg="".join(codes))
            np.testing.assert_allclose(found.grid.affine, affine, atol=1e-4)
            assert found.grid.shape == SHAPE


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
def test_intensities_are_the_same_in_any_data_type_byte_order_and_container(
    tmp_path: Path, name: str, options: dict[str, Any], tolerance: float
) -> None:
    found = read_volume(write(tmp_path / name, *sampled("PSR"), **options))
    assert found.voxels.dtype == np.float32
    assert np.abs(found.voxels - sampled()[0]).max() <= tolerance


def test_an_oblique_volume_is_turned_to_its_nearest_axes_and_keeps_its_voxels(tmp_path: Path) -> None:
    cosine, sine = np.cos(0.3), np.sin(0.3)
    turn = np.array([[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    _, affine = sampled("ILP")
    points = np.stack([*np.indices((12, 21, 26)), np.ones((12, 21, 26))], axis=-1) @ (turn @ affine).T
    found = read_volume(write(tmp_path / "v.nii", head(points[..., :3]), turn @ affine))
    assert nibabel.aff2axcodes(found.grid.affine) == ("R", "A", "S")
    corners = np.stack([*np.indices(SHAPE), np.ones(SHAPE)], axis=-1) @ found.grid.affine.T
    np.testing.assert_allclose(found.voxels, head(corners[..., :3]), atol=0.01)
    np.testing.assert_allclose(found.grid.spacing, SPACING, rtol=1e-5)


def test_a_fourth_axis_of_length_one_is_accepted(tmp_path: Path) -> None:
    voxels, affine = sampled()
    path = write(tmp_path / "v.nii", voxels[..., None], affine)
    np.testing.assert_array_equal(read_volume(path).voxels, voxels.astype(np.float32))
    np.testing.assert_array_equal(read_volume(path, 3).voxels, voxels.astype(np.float32))


def test_a_volume_of_a_4d_file_is_read_if_its_index_is_chosen(tmp_path: Path) -> None:
    voxels, affine = sampled()
    path = write(tmp_path / "v.nii.gz", np.stack([0 * voxels, voxels, 2 * voxels], -1), affine)
    for index in (1, 2):
        np.testing.assert_array_equal(read_volume(path, index).voxels, (index * voxels).astype(np.float32))
    with pytest.raises(
        FederationError, match=r"v.nii.gz holds 3 volumes, but dataset.volume is 3; choose another index"
    ):
        read_volume(path, 3)
    with pytest.raises(FederationError, match=r"dataset.volume is -1"):
        read_volume(path, -1)
    path = write(tmp_path / "v.nii", np.stack([voxels, voxels], -1)[..., None, :], affine)
    with pytest.raises(FederationError, match=r"is 5-D, of shape \(21, 26, 12, 1, 2\)"):
        read_volume(path, 0)


def test_examining_a_file_finds_its_grid_without_its_voxels(tmp_path: Path) -> None:
    voxels, affine = sampled("LPI")
    grid = examine(write(tmp_path / "v.nii.gz", np.nan * voxels, affine))
    assert grid.shape == SHAPE
    np.testing.assert_allclose(grid.affine, sampled()[1], atol=1e-4)
    assert str(grid) == "21 x 26 x 12 voxels of 4 x 4 x 6 mm at (-40.00, -52.00, -36.00)"


def test_a_real_scan_reads_as_nibabel_reads_it() -> None:
    image = nibabel.load(SCANS / "anatomical.nii")  # int16, big-endian, left-anterior-superior
    found = read_volume(SCANS / "anatomical.nii")
    np.testing.assert_array_equal(found.voxels, image.get_fdata()[::-1])
    np.testing.assert_allclose(found.grid.affine @ [0, 0, 0, 1], image.affine @ [image.shape[0] - 1, 0, 0, 1])
    moved = read_volume(SCANS / "reoriented_anat_moved.nii")  # float32, big-endian, right-anterior-superior
    np.testing.assert_array_equal(moved.voxels, nibabel.load(SCANS / "reoriented_anat_moved.nii").get_fdata())
    assert read_volume(SCANS / "standard.nii.gz").voxels.shape == (4, 5, 7)
    echo = nibabel.load(SCANS / "example4d.nii.gz")  # oblique, sagittal
    chosen = read_volume(SCANS / "example4d.nii.gz", 1)
    turned = nibabel.as_closest_canonical(echo)
    np.testing.assert_array_equal(chosen.voxels, turned.get_fdata(dtype=np.float32)[..., 1])
    np.testing.assert_allclose(chosen.grid.affine, turned.affine)
    with pytest.raises(FederationError, match=r"example4d.nii.gz is 4-D, .* where one 3-D volume is expected"):
        read_volume(SCANS / "example4d.nii.gz")


@pytest.mark.parametrize("name", ["t1", "gm"])
def test_the_mni152_template_reads_as_nibabel_reads_it(name: str) -> None:
    path = MNI / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    image = nibabel.as_closest_canonical(nibabel.load(path))
    found = read_volume(path)
    np.testing.assert_array_equal(found.voxels, image.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(found.grid.affine, image.affine)
    assert examine(path).same(found.grid)
    right, back = (
        np.linalg.solve(found.grid.affine, [*place, 1])[:3].round().astype(int) for place in ([60, 0, 0], [0, -90, 0])
    )
    assert right[0] > found.grid.shape[0] / 2
    assert back[1] < found.grid.shape[1] / 2


@pytest.mark.parametrize(
    ("scan", "message"),
    [
        (
            "example4d.nii.gz",
            r"is 4-D, of shape \(128, 96, 24, 2\), where one 3-D volume is expected; save the one to use by itself, or choose",
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
def test_a_real_file_that_is_not_a_volume_is_refused(scan: str, message: str) -> None:
    with pytest.raises(FederationError, match=message):
        read_volume(SCANS / scan)


Damage = Callable[[Path], object]


def rewritten(**fields: Any) -> Damage:
    """Damage that changes fields of the header and no voxel."""

    def damage(path: Path) -> None:
        raw = bytearray(gzip.decompress(path.read_bytes()))
        header = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        raw[:348] = header.binaryblock
        path.write_bytes(gzip.compress(bytes(raw)))

    return damage


def bytes_of(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def voxels_of(change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(path: Path) -> None:
        voxels, affine = sampled()
        write(path, change(voxels), affine)

    return damage


def colour(path: Path) -> None:
    voxels = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def flipped_bit(raw: bytes) -> bytes:
    """Damage of one bit of the stored checksum, after which every voxel still decompresses."""
    return raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:]


def spot(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.copy()
        voxels[3, 4, 5] = voxels[10, 10, 10] = value
        return voxels

    return change


def replaced(make: Callable[[Path], object]) -> Damage:
    return lambda path: (path.unlink(), make(path))


REFUSALS: dict[str, tuple[Damage, str]] = {
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
    "huge affine": (rewritten(srow_x=1e38, srow_y=[0, 3e38, 1e38, 0]), r"its affine .* cannot be inverted|mm are expected"),
    "metres": (
        lambda p: write(p, sampled()[0], np.diag([0.004, 0.004, 0.006, 1])),
        r"voxels of 0.004 x 0.004 x 0.006 mm, where edges of 0.05 to 20.0 mm are expected; write its affine in mm",
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
    "an empty folder": (replaced(Path.mkdir), r"T1.nii.gz holds no DICOM series; give each series a folder of its own"),
    "a pipe": (replaced(os.mkfifo), r"is neither a file nor a folder"),
    "a broken link": (replaced(lambda p: p.symlink_to("gone")), r"cannot be read \(No such file"),
    "a link to itself": (replaced(lambda p: p.symlink_to("T1.nii.gz")), r"cannot be read \(Too many levels of symbolic"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_volume_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "T1.nii.gz")
    damage, message = REFUSALS[name]
    damage(path)
    with pytest.raises(FederationError, match=message) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)


def test_a_file_without_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "T1.nii.gz")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("io.open", refuse)  # a test run by root may read everything
    with pytest.raises(
        FederationError, match=r"T1.nii.gz cannot be read \(Permission denied\); restore it or its perm"
    ):
        read_volume(path)


def test_a_file_larger_than_any_head_is_refused_although_its_length_is_right(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii")
    with path.open("r+b") as file:
        file.seek(40)
        file.write(np.array([3, 1025, 1024, 1024], "<i2").tobytes())
        file.truncate(352 + 4 * 1025 * 1024 * 1024)  # sparse: no disk is taken
    with pytest.raises(
        FederationError, match=r"claims shape \(1025, 1024, 1024\), beyond the 1073741824 voxels of any head"
    ):
        read_volume(path)


def test_a_checksum_is_verified_even_if_the_voxels_end_with_a_block(tmp_path: Path) -> None:
    path = write(tmp_path / "v.img.gz", *sampled(shape=(64, 64, 64)), kind=nibabel.Nifti1Pair)  # 1 MiB of float32
    read_volume(path)
    bytes_of(flipped_bit)(path)
    with pytest.raises(FederationError, match=r"is truncated or damaged \(CRC check failed"):
        read_volume(path)
