"""A folder of DICOM slices is read as the NIfTI volume of the same head is; anything but one whole series is refused."""

from __future__ import annotations

import locale
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from support.volumes import SCANS, SERIES, sampled, series, write

from fedsynth.datasets.volumes import Chain, examine, export_volume, process, read_volume
from fedsynth.federation import FederationError

TURN = np.array([[np.cos(0.2), 0, np.sin(0.2), 3], [0, 1, 0, -7], [-np.sin(0.2), 0, np.cos(0.2), 11], [0, 0, 0, 1]])


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PSR", "LSA", "AIL"])
@pytest.mark.parametrize("turn", [np.eye(4), TURN])
def test_a_series_reads_as_the_nifti_volume_of_the_same_head(tmp_path: Path, codes: str, turn: np.ndarray) -> None:
    voxels, affine = sampled(codes)
    language = locale.getencoding()
    found = read_volume(series(tmp_path / "dicom", voxels, turn @ affine))
    same = read_volume(write(tmp_path / "v.nii", voxels, turn @ affine, np.int16))
    np.testing.assert_allclose(found.grid.affine, same.grid.affine, atol=1e-4)
    np.testing.assert_array_equal(found.voxels, same.voxels)
    assert locale.getencoding() == language
    assert examine(tmp_path / "dicom").same(same.grid)


def test_a_slope_is_applied(tmp_path: Path) -> None:
    voxels, affine = sampled()
    found = read_volume(series(tmp_path / "dicom", voxels, affine, slope=4.0))
    assert np.abs(found.voxels - voxels).max() <= 2.01  # 4 to a step of the stored numbers


def test_slices_of_a_tilted_gantry_keep_their_shear(tmp_path: Path) -> None:
    voxels, affine = sampled()
    affine[1, 2] = 2.0  # each slice 2 mm further to the front than the one below
    found = read_volume(series(tmp_path / "dicom", voxels, affine))
    np.testing.assert_allclose(found.grid.affine, affine, atol=1e-4)


def test_real_slices_lie_where_their_headers_say(tmp_path: Path) -> None:
    for name in ("0.dcm", "1.dcm"):
        shutil.copy(SCANS / name, tmp_path)
    found = examine(tmp_path)  # of a Siemens scanner; position (-805, -825.019119, -75.097641) mm, to the left and back
    assert found.shape == (256, 256, 2)
    np.testing.assert_allclose(found.spacing, (1.796875, 1.796875, 3.0), atol=1e-4)
    corner = found.affine @ [255, 255, 0, 1]  # the first voxel of the file: columns run to the left, rows to the back
    np.testing.assert_allclose(corner[:3], (805, 825.019119, -75.097641), atol=1e-3)


def test_a_series_can_be_a_contrast_and_slices_are_exported_to_its_grid(tmp_path: Path) -> None:
    voxels, affine = sampled("LPS")
    folder = series(tmp_path / "T1", voxels, affine)
    other = write(tmp_path / "T2.nii.gz", *sampled("RAS", contrast="T2"), dtype=np.int16)
    made = process("ann", {"T1": folder, "T2": other}, Chain(size=32, spacing=4.0))
    assert made.spacing == {"T1": pytest.approx((4, 4, 6)), "T2": pytest.approx((4, 4, 6))}
    export_volume(made.images[:, 0], made.rows, made.affine, folder, tmp_path / "out.nii.gz", made.white["T1"])
    back, inside = read_volume(tmp_path / "out.nii.gz"), read_volume(folder)
    assert back.grid.same(inside.grid)
    difference = np.abs(back.voxels - inside.voxels.clip(0, made.white["T1"]))[:, :, list(made.rows)]
    assert difference.max() < 0.001 * made.white["T1"]


Damage = Callable[[Path], object]


def colour(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    image = SimpleITK.GetImageFromArray(np.zeros((1, 8, 9, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(image, str(folder / "IM001.dcm"))


def smaller(folder: Path) -> None:
    voxels, affine = sampled(shape=(21, 26, 13))
    series(folder.parent / "other", voxels[:20], affine)
    shutil.copy(folder.parent / "other" / "IM001.dcm", folder / "IM013.dcm")


REFUSALS: dict[str, tuple[Damage, str]] = {
    "a slice is missing": (
        lambda folder: (folder / "IM005.dcm").unlink(),
        r"its 11 slices lie 6 to 12 mm apart, where gaps must be equal; add the missing slices",
    ),
    "a slice is no DICOM": (lambda folder: (folder / "IM005.dcm").write_text("no"), r"its 11 slices lie 6 to 12 mm apart"),
    "two volumes in one series": (
        lambda folder: series(folder, *sampled("RAS"), prefix="second"),
        r"its 24 slices lie 6 to 66 mm apart, .*or give each volume a folder of its own",
    ),
    "two series": (
        lambda folder: series(folder, *sampled("RAS"), uid=SERIES + ".5", prefix="second"),
        r"holds 2 DICOM series \(.*\); give each series a folder of its own",
    ),
    "one slice": (
        lambda folder: [file.unlink() for file in folder.glob("*.dcm") if file.name != "IM005.dcm"],
        r"holds a single slice, where a volume is expected",
    ),
    "pixels cut off": (
        lambda folder: (folder / "IM005.dcm").write_bytes((folder / "IM005.dcm").read_bytes()[:-300]),
        r"IM005.dcm cannot be read as DICOM|its slices cannot be read|its 11 slices",
    ),
    "colour": (colour, r"IM001.dcm holds colour voxels"),
    "another shape": (smaller, r"differs from .* in shape, pixel size or direction"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_anything_but_one_whole_series_is_refused(tmp_path: Path, name: str) -> None:
    folder = series(tmp_path / "T1", *sampled())
    damage, message = REFUSALS[name]
    damage(folder)
    with pytest.raises(FederationError, match=message) as caught:
        read_volume(folder)
    assert str(folder) in str(caught.value)
