"""Motion, orientation and intensities of known heads are recovered by `fedsynth prepare`, with every layout.

Each contrast of a subject was acquired on a grid of its own, after a motion of its own. Files are flipped, oblique, with
anisotropic voxels, as int16 with a slope or as float32, compressed or not.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy import ndimage
from support.volumes import acquired, off, phantom, rigid, series, volume, write

from fedsynth.benchmarks.cli import main
from fedsynth.datasets.store.slice_store import Row, SliceStore, numbers

PEOPLE = 3
PIXEL, SIZE = 3.0, 88  # mm, pixels; the reference contrast has such voxels in the plane, so that it is not interpolated
ORIENTATIONS = ("LPS", "PSR", "RAI", "SAR", "LAS", "IPL")


class Scan(NamedTuple):
    """Voxels from 0 to 3000 along the axes nearest to right, front and up, their affine, and the motion of the head before."""

    voxels: np.ndarray
    affine: np.ndarray
    motion: np.ndarray


@cache
def scans(site: str, seed: int) -> dict[str, Scan]:
    """Every contrast of a head: the first in place, each other turned by up to 10 degrees and shifted by up to 10 mm."""
    stream = np.random.default_rng(seed)
    heads, home = phantom(site, PIXEL, f"person {seed}")
    if site == "brats":
        heads = heads | {"T1ce": heads["T1"] / 2 + heads["T2"] / 2}
    found: dict[str, Scan] = {}
    for contrast, voxels in heads.items():
        spacing = ((2.5, 3.5, 4.5), (3.0, 3.0, 5.0))[seed % 2] if found else (PIXEL, PIXEL, 4.0)
        shape = tuple(round(edge / mm) for edge, mm in zip((216, 240, 156), spacing, strict=True))
        grid = np.diag([*spacing, 1.0])
        grid[:3, 3] = [0, 0, 12] - np.multiply(spacing, np.array(shape) - 1) / 2
        grid = rigid(stream.uniform(-12, 12, 3), (0, 0, 0)) @ grid
        turn, shift = stream.uniform(-1, 1, (2, 3))
        motion = np.eye(4)
        if found:
            motion = rigid(10 * turn / max(1, np.linalg.norm(turn)), 10 * shift / max(1, np.linalg.norm(shift)))
        seen = acquired(voxels, home, motion, grid, shape)
        found[contrast] = Scan(3000 * seen / seen.max(), grid, motion)
    return found


def keep(path: Path, scan: Scan, style: int) -> None:
    """Write the scan. The order and direction of its axes, and the form of its numbers, follow from `style`."""
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(ORIENTATIONS[style % len(ORIENTATIONS)]))
    voxels, affine = apply_orientation(scan.voxels, turn), scan.affine @ inv_ornt_aff(turn, scan.voxels.shape)
    if not path.name.endswith((".nii", ".nii.gz")):
        series(path, voxels, affine, uid=f"1.2.826.0.1.3680043.2.1125.{style + 1}")
    elif style % 2:
        write(path, voxels, affine, np.int16, slope=0.25, order="<>"[style // 2 % 2])
    else:
        write(path, voxels, affine, np.float32)


FORMS = {
    "ixi": ("ixi", "IXI-{c}/IXI{n:03d}-HH-08{n:02d}-{c}.nii.gz"),
    "brats2021": ("brats", "BraTS2021_{n:05d}/BraTS2021_{n:05d}_{low}.nii.gz"),
    "midas": ("midas", "Normal-{n:03d}/{c}.nii.gz"),
    "oasis3": ("oasis", "sub-OAS3{n:04d}/ses-d0129/anat/sub-OAS3{n:04d}_ses-d0129_run-01_{suffix}.nii.gz"),
    "fastmri_brain": ("oasis", "file_brain_{n}/AX{c}"),
    "bids": ("oasis", "sub-{n:02d}/anat/sub-{n:02d}_{suffix}.nii{gz}"),
    "folder": ("midas", "south é/p{n}/{c}.nii{gz}"),
}  # layout -> the phantom's site from which its heads are, and the form of its paths


def tree(layout: str, root: Path) -> dict[Path, Scan]:
    """Write the volumes of a layout; their paths under the root, with their scans."""
    site, form = FORMS[layout]
    found = {}
    for n in range(PEOPLE):
        for i, (contrast, scan) in enumerate(scans(site, n).items()):
            suffix = contrast if contrast == "FLAIR" else f"{contrast}w"
            gz = (".gz", "")[(n + i) % 2]
            path = Path(form.format(n=n, c=contrast, low=contrast.lower(), suffix=suffix, gz=gz))
            keep(root / path, scan, 7 * n + i)
            found[path] = scan
    if layout == "bids":
        (root / "dataset_description.json").write_text('{"Name": "phantom", "BIDSVersion": "1.8.0"}')
        (root / "participants.tsv").write_text(
            "participant_id\tsite\n" + "".join(f"sub-{n:02d}\tWard 3\n" for n in range(PEOPLE))
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("layout", FORMS)
def test_motion_orientation_and_intensities_are_recovered(tmp_path: Path, layout: str) -> None:
    """Motions are right to half a voxel anywhere in the head. Every pixel of the reference contrast comes from the voxel that
    its affine says, and has its intensity to 1% of the range. The other contrasts are interpolated: in the mean over the head
    they have to 1% what lies where their own affine leads, and to 2% what lies where the known motion leads.
    """
    truth = tree(layout, tmp_path / "in")
    options = [f"dataset.chain.{key}={value}" for key, value in {"size": SIZE, "spacing": PIXEL}.items()]
    if layout in ("brats2021", "folder"):
        options += ["dataset.chain.register=rigid"]
    if layout == "folder":
        options += ["dataset.pattern='{site}/{subject}/{contrast}.nii*'"]
    out = tmp_path / "out"
    assert main(["prepare", f"dataset={layout}", str(tmp_path / "in"), *options, "--out", str(out)]) == 0
    store = SliceStore.open(out)
    index = [{**row, "file": Path(row["file"]).relative_to(tmp_path / "in")} for row in store.volumes()]
    assert {row["file"] for row in index} == set(truth)
    assert store.names.left_out == []
    for site in map(store.site, store.contrasts):
        for subject in site.subjects:
            rows = {row["contrast"]: row for row in index if (row["site"], row["subject"]) == (site.name, subject.name)}
            reference = truth[rows["T1"]["file"]]
            kept = np.array(rows["T1"]["slices"].split(), int)
            number, high, wide = np.indices((len(kept), SIZE, SIZE)).reshape(3, -1)
            pixels = np.stack([high, wide, kept[number], np.ones(number.shape)])
            for contrast, row in rows.items():
                scan = truth[row["file"]]
                np.testing.assert_allclose(matrix(row["source_affine"]), scan.affine, atol=1e-3)
                images = site.images[subject.slices, site.contrasts.index(contrast)].astype(float).ravel() / 2 + 0.5
                if contrast == "T1":
                    voxels = np.linalg.solve(scan.affine, matrix(row["affine"]) @ pixels)[:3]
                    np.testing.assert_allclose(voxels, np.round(voxels), atol=0.01)
                    assert np.abs(images - shown(scan, row, matrix(row["affine"]) @ pixels)).max() < 0.01
                    continue
                assert row["poor"] == "False"
                fixed, moving = volume(reference.voxels, reference.affine), volume(scan.voxels, scan.affine)
                assert off(matrix(row["motion"]), scan.motion, fixed, moving) < 0.5
                head = site.masks[subject.slices].ravel()
                for places, most in (
                    (matrix(row["affine"]) @ pixels, 0.01),
                    (scan.motion @ matrix(rows["T1"]["affine"]) @ pixels, 0.02),
                ):
                    assert np.abs(images - shown(scan, row, places))[head].mean() < most


def shown(scan: Scan, row: Row, places: np.ndarray) -> np.ndarray:
    """The intensities at these places in the scan's world, scaled as in the store."""
    voxels = np.linalg.solve(scan.affine, places)[:3]
    found = ndimage.map_coordinates(scan.voxels, voxels, order=3, mode="grid-constant")
    return (found / float(row["white"])).clip(0, 1)


def matrix(cell: str) -> np.ndarray:
    return np.reshape(numbers(cell), (4, 4))
