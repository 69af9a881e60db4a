"""Small trees of volumes in every layout that conf/dataset/ knows, made from the phantom, for tests."""

from __future__ import annotations

import locale
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from fedsynth.benchmarks.config import compose
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.datasets.layout import Layout
from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.store.slice_store import SliceStore
from fedsynth.datasets.volumes import Quality
from fedsynth.federation import Subject

SIZE, SLICES, EDGE = 32, 4, (6.0, 6.0, 12.0)  # voxels each way, slices, mm
SMALL = {"size": SIZE, "spacing": EDGE[0], "foreground": 0.01}
PHANTOM = Phantom(size=SIZE, slices=SLICES)
Writer = Callable[[Path, np.ndarray], object]


@cache
def stacks(site: str, person: int) -> Mapping[str, np.ndarray]:
    """For each contrast of a subject of the phantom, intensities from 0 to 2000, `[X, Y, Z]` running right, front, up."""
    images, *_ = PHANTOM.subject(site, f"train{person:03d}")
    return {
        contrast: 1000 * (images[:, channel, ::-1].astype(np.float64).T + 1)
        for channel, contrast in enumerate(PHANTOM.contrasts()[site])
    }


def nifti(path: Path, voxels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*EDGE, 1.0])
    affine[:3, 3] = [-(n // 2) * edge for n, edge in zip(voxels.shape, EDGE, strict=True)]
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), affine), path)
    return path


def dicom(folder: Path, voxels: np.ndarray) -> Path:
    """A series, one file a slice; DICOM's axes run left, back, up."""
    import SimpleITK

    folder.mkdir(parents=True)
    before = locale.setlocale(locale.LC_ALL)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    series = f"1.2.826.0.1.3680043.2.1125.{abs(hash(folder)) % 10**9}"
    for number, plane in enumerate(voxels[::-1, ::-1].T):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(plane).round().astype(np.int16))
        image.SetSpacing(EDGE[:2])
        place = f"{-(SIZE // 2) * EDGE[0]}\\{-(SIZE // 2) * EDGE[1]}\\{number * EDGE[2]}"
        tags = {
            "0008|0060": "MR", "0020|000e": series, "0020|000d": series + ".1", "0008|0018": f"{series}.2.{number}",
            "0020|0032": place, "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(number), "0018|0050": str(EDGE[2]),
        }  # fmt: skip
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number:03d}.dcm"))
        writer.Execute(image)
    locale.setlocale(
        locale.LC_ALL, before
    )  # the writer leaves the locale C, in which the next text file would be read as ASCII
    return folder


def quality(poor: bool) -> Quality:
    """An invented account of how a registration went."""
    return Quality(1.1, 1.2, -0.1, 0.1, np.eye(4), poor, "1.2000 is less than 1.3000" if poor else "")


def people(store: SliceStore, site: str) -> dict[str, Subject]:
    """Name -> the subject of a site, who has a pseudonym there; sorted by name."""
    found = {store.names.name(site, subject.name): subject for subject in store.site(site).subjects}
    return {name: found[name] for name in sorted(found)}


def content(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def ixi(root: Path, people: int = 4) -> None:
    number = 0
    for hospital in ("Guys", "HH", "IOP"):
        for _ in range(people):
            number += 1
            for contrast, voxels in stacks("ixi", number).items():
                nifti(
                    root / f"IXI-{contrast}" / f"IXI{number:03d}-{hospital}-{800 + number:04d}-{contrast}.nii.gz",
                    voxels,
                )


def brats2021(root: Path, people: int = 4) -> None:
    names = {"T1": "t1", "T2": "t2", "FLAIR": "flair"}
    for person in range(people):
        own = f"BraTS2021_{person:05d}"
        volumes = stacks("brats", person)
        for contrast, name in names.items():
            nifti(root / own / f"{own}_{name}.nii.gz", volumes[contrast])
        nifti(root / own / f"{own}_t1ce.nii.gz", volumes["T1"] * 0.5 + volumes["T2"] * 0.5)
        nifti(root / own / f"{own}_seg.nii.gz", volumes["T1"] > 900)


def midas(root: Path, people: int = 4) -> None:
    for person in range(people):
        for contrast, voxels in stacks("midas", person).items():
            nifti(root / f"Normal-{person:03d}" / f"{contrast}.nii.gz", voxels)


def oasis3(root: Path, people: int = 4) -> None:
    for person in range(people):
        subject, session = f"sub-OAS3{person:04d}", "ses-d0129"
        folder = root / subject / session / "anat"
        for contrast, voxels in stacks("oasis", person).items():
            suffix = contrast if contrast == "FLAIR" else f"{contrast}w"
            nifti(folder / f"{subject}_{session}_run-01_{suffix}.nii.gz", voxels)
        nifti(folder / f"{subject}_{session}_run-02_T1w.nii.gz", stacks("oasis", person)["T1"] * 0.9)
        later = root / subject / "ses-d0900" / "anat" / f"{subject}_ses-d0900_T1w.nii.gz"
        nifti(later, stacks("oasis", person)["T1"] * 0.8)


def fastmri_brain(root: Path, people: int = 4) -> None:
    for person in range(people):
        for contrast, voxels in stacks("oasis", person).items():
            dicom(root / f"file_brain_{person}" / f"AX{contrast}", voxels)


def bids(root: Path, people: int = 4) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "made from the phantom", "BIDSVersion": "1.8.0"}')
    lines = ["participant_id\tage\tsite"]
    for number, site in enumerate(["Ward 3"] * people + ["MR-2"] * people):
        lines.append(f"sub-{number:02d}\t50\t{site}")
        folder = root / f"sub-{number:02d}" / "anat"
        for contrast, voxels in stacks("oasis", number).items():
            suffix = contrast if contrast == "FLAIR" else f"{contrast}w"
            nifti(folder / f"sub-{number:02d}_{suffix}.nii.gz", voxels)
        made = root / "derivatives" / "other" / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w.nii.gz"
        nifti(made, stacks("oasis", 0)["T1"])
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")


def folder(root: Path, people: int = 4, sites: Sequence[str] = ("north", "south é")) -> None:
    for place, site in enumerate(sites):
        for person in range(people):
            for contrast in ("T1", "T2"):
                nifti(
                    root / site / f"p{person}" / f"{contrast}.nii.gz",
                    stacks("midas", people * place + person)[contrast],
                )


TREES: Mapping[str, Callable[[Path], None]] = {
    "ixi": ixi, "brats2021": brats2021, "midas": midas, "oasis3": oasis3, "fastmri_brain": fastmri_brain, "bids": bids,
    "folder": folder,
}  # fmt: skip


@cache
def composed(name: str) -> Layout:
    register()
    made = Run.of(compose.composed([f"dataset={name}", "dataset.chain.register=none"])).dataset
    assert isinstance(made, Layout)
    return made


def layout(name: str, root: Path, /, **options: Any) -> Layout:
    """The layout of conf/dataset/ on a small tree, without registration unless it is asked for."""
    made = deepcopy(composed(name))
    for key, value in {**SMALL, **options.pop("chain", {})}.items():
        setattr(made.chain, key, value)
    for key, value in {"root": str(root), "out": str(root.with_name(f"{root.name}-store")), **options}.items():
        setattr(made, key, value)
    made.__post_init__()
    made.chain.__post_init__()
    return made
