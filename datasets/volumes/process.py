"""The chain of steps that turns the volumes of one subject into slices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedsynth.federation import FederationError

from .bias import corrected
from .chain import Chain
from .intensity import bright_level, white_level
from .mask import dark_share, foreground, given_mask, interior
from .quality import Quality, alignment
from .read import read_volume
from .register import Registration, find_motion
from .resample import mask_onto, onto, reached
from .slices import choose_slices, cut
from .volume import Grid, Volume

LOST = 0.05  # largest share of the foreground that may lie outside the slices' pixels, or outside a contrast's volume


class Processed(NamedTuple):
    """Slices of one subject, from the lowest up. Rows run from front to back, columns from the person's left to the right."""

    images: np.ndarray  # float16 [N, C, H, W] in [-1, 1], contrasts in the order given
    masks: np.ndarray  # bool [N, H, W], the foreground
    rows: tuple[int, ...]  # N indices: where each slice lies along the third axis of the grid
    affine: (
        np.ndarray
    )  # float64 [4, 4]: (row, column, index along the third axis, 1) -> mm in the reference contrast's world
    spacing: dict[
        str, tuple[float, float, float]
    ]  # by contrast: edges of its voxels along right, anterior, superior, mm
    source_affines: dict[str, np.ndarray]  # by contrast: float64 [4, 4] of its file, turned to right-anterior-superior
    white: dict[str, float]  # by contrast: the intensity shown as 1
    contents: dict[str, str]  # by contrast: the SHA-256 of its volume (`Volume.sha256`), before a bias is corrected
    quality: dict[str, Quality]  # by contrast; the reference contrast is compared only with a template
    lost: float  # share of the foreground outside the slices' pixels, at most LOST
    dark: float  # share of the head that is as dark as air 4 to 15 mm below its surface (mask.py)


def process(
    subject: str, volumes: Mapping[str, Path], chain: Chain, mask: Path | None = None, chosen: int | None = None
) -> Processed:
    """The slices of one subject. Those that the volume of some contrast does not reach are left out.

    Args:
        subject: Its name, for messages.
        volumes: Contrast -> a NIfTI file, or a folder with one DICOM series.
        chain: The steps.
        mask: The given mask, if `chain.mask` is a pattern.
        chosen: Index of the volume to use from 4-D files.

    Raises:
        FederationError: For a volume or mask that cannot be used; it names the file, what was found and what to do.
    """
    name = chain.reference or next(iter(volumes))
    if name not in volumes:
        raise FederationError(f"subject {subject} has no {name}, the reference contrast; it has {', '.join(volumes)}")
    if (mask is None) != (chain.mask == "head"):
        raise FederationError(f"subject {subject}: chain.mask is {chain.mask!r}, but the given mask is {mask}")
    first = _read(volumes[name], chain, chosen)
    reference = first.volume
    space = _space(reference, volumes[name], name, chain)
    brain = None if mask is None else mask_onto(space.grid, given_mask(mask, reference.grid), space.home)
    placed, contents = {}, {}
    for contrast, path in volumes.items():
        read = first if contrast == name else _read(path, chain, chosen)
        contents[contrast] = read.content
        placed[contrast] = _placed(read.volume, path, reference, volumes[name], space, chain)
    seen = np.logical_and.reduce([each.seen for each in placed.values()])
    if brain is not None and chain.strip:  # before the white levels are found, so that they are those of the brain
        placed = {c: each._replace(voxels=np.where(brain, each.voxels, 0)) for c, each in placed.items()}
    shown = _shown(subject, placed, volumes, mask or volumes[name], space.grid)
    images = shown.images
    head = shown.head if brain is None else brain
    if chain.strip:
        images = [voxels * head for voxels in images]
    rows = choose_slices(
        head, (head & seen).sum((0, 1)) >= (1 - LOST) * head.sum((0, 1)), chain.foreground, chain.slices
    )
    if not len(rows):
        raise FederationError(
            f"no slice of {volumes[name]} has foreground that {', '.join(volumes)} all reach; leave subject {subject} out"
        )
    slices = cut(images, head, space.grid, rows, chain.size, chain.spacing)
    if slices.lost > LOST:
        x, y = np.nonzero(head[:, :, rows].any(axis=2))
        reach = max(np.ptp(x) * space.grid.spacing[0], np.ptp(y) * space.grid.spacing[1])
        raise FederationError(
            f"{slices.lost:.0%} of the foreground of {volumes[name]}, {reach:.0f} mm across, lies outside {chain.size} pixels of"
            f" {chain.spacing} mm; raise dataset.chain.size or dataset.chain.spacing"
        )
    return Processed(
        (2 * slices.images.clip(0, 1) - 1).astype(np.float16),
        slices.masks,
        tuple(rows.tolist()),
        space.home @ slices.affine,
        {contrast: each.source.edges for contrast, each in placed.items()},
        {contrast: each.source.affine for contrast, each in placed.items()},
        shown.white,
        contents,
        space.quality | {contrast: each.quality for contrast, each in placed.items() if each.quality},
        slices.lost,
        shown.dark,
    )


class _Space(NamedTuple):
    """The grid from which slices are cut."""

    grid: Grid
    home: np.ndarray  # [4, 4], the motion from its world to the reference contrast's
    quality: dict[str, Quality]  # of that motion, if there is a template


class _Placed(NamedTuple):
    """The volume of a contrast on the grid from which slices are cut."""

    voxels: np.ndarray
    seen: np.ndarray  # bool: which voxels of the grid the volume reaches
    source: Grid  # the volume's own grid
    quality: Quality | None


class _Read(NamedTuple):
    """A volume, and the SHA-256 of what its file holds."""

    volume: Volume
    content: str


def _read(path: Path, chain: Chain, chosen: int | None) -> _Read:
    volume = read_volume(path, chosen)
    content = volume.sha256()
    try:
        return _Read(corrected(volume) if chain.bias else volume, content)
    except FederationError as error:
        raise FederationError(f"{path}: {error}") from error


def _space(reference: Volume, path: Path, name: str, chain: Chain) -> _Space:
    if not chain.template:
        return _Space(reference.grid, np.eye(4), {})
    template = read_volume(Path(chain.template))
    motion = _motion(template, Path(chain.template), reference, path, Registration.affine)
    return _Space(template.grid, motion, {name: alignment(template, reference, motion)})


def _placed(
    volume: Volume, path: Path, reference: Volume, reference_path: Path, space: _Space, chain: Chain
) -> _Placed:
    """The volume on the grid of `space`, interpolated once, or not at all if it lies there already."""
    if volume is reference:
        motion, quality = None, None
    elif chain.register is not Registration.none:
        motion = _motion(reference, reference_path, volume, path, chain.register)
        quality = alignment(reference, volume, motion)
    elif not volume.grid.same(reference.grid):
        raise FederationError(
            f"{reference_path} ({reference.grid}) and {path} ({volume.grid}) lie on different grids; register and resample one"
            " onto the other, as dataset.chain.register=rigid does"
        )
    else:
        motion, quality = None, alignment(reference, volume)
    if motion is None and not chain.template:
        return _Placed(volume.voxels, np.ones(space.grid.shape, bool), volume.grid, quality)
    motion = space.home if motion is None else motion @ space.home
    return _Placed(onto(space.grid, volume, motion), reached(space.grid, volume.grid, motion), volume.grid, quality)


class _Shown(NamedTuple):
    """The volumes of a subject with 1 for white."""

    images: list[np.ndarray]
    white: dict[str, float]  # by contrast
    head: np.ndarray  # bool
    dark: float  # as in `Processed`


def _shown(subject: str, placed: Mapping[str, _Placed], volumes: Mapping[str, Path], where: Path, grid: Grid) -> _Shown:
    """Find the head in all contrasts together, and what is white inside it."""
    levels = {c: bright_level(each.voxels) if (each.voxels > 0).any() else 0.0 for c, each in placed.items()}
    _check_bright(levels, subject, volumes, where)
    together = np.sum([each.voxels / np.float32(levels[contrast]) for contrast, each in placed.items()], axis=0)
    head = foreground(together, grid.edges)
    if not head.any():
        raise FederationError(f"{where} shows nothing of the size of a head; leave subject {subject} out")
    inside = interior(head, grid.edges)
    white = {contrast: white_level(each.voxels, inside.core) for contrast, each in placed.items()}
    _check_bright(white, subject, volumes, where)
    images = [each.voxels / np.float32(white[contrast]) for contrast, each in placed.items()]
    return _Shown(images, white, head, dark_share(together, inside))


def _check_bright(levels: Mapping[str, float], subject: str, volumes: Mapping[str, Path], where: Path) -> None:
    if dark := [contrast for contrast, level in levels.items() if level <= 0]:
        raise FederationError(
            f"{volumes[dark[0]]} shows nothing where {where} shows the head; correct its affine or leave subject"
            f" {subject} out"
        )


def _motion(fixed: Volume, fixed_path: Path, moving: Volume, path: Path, kind: Registration) -> np.ndarray:
    try:
        return find_motion(fixed, moving, kind)
    except FederationError as error:
        raise FederationError(f"{path} cannot be registered to {fixed_path}: {error}") from error
