"""Registration: the motion between two volumes of a subject under which their mutual information is greatest."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from fedsynth.federation import FederationError

from .itk import image, simpleitk
from .mask import foreground
from .volume import Grid, Volume

LEVELS = (8.0, 4.0, 2.0)  # mm, edges of the voxels, from coarse to fine
MARGIN = 10.0  # mm around the head that are compared too, so that its outline counts
BINS = 32


class Registration(Enum):
    """The motions that are sought."""

    none = "none"
    rigid = "rigid"  # 6 degrees of freedom
    affine = "affine"  # 12


class _Level(NamedTuple):
    """Both volumes and the region to compare, as SimpleITK images."""

    edge: float  # of their voxels, about, mm
    fixed: Any
    moving: Any
    region: Any


class _Found(NamedTuple):
    information: float  # mutual information at the finest level, nats
    transform: Any


def find_motion(fixed: Volume, moving: Volume, kind: Registration) -> np.ndarray:
    """The motion `[4, 4]`, mm: a point in the world of `fixed` -> the same point of the subject in the world of `moving`.

    It maximises Mattes' mutual information of all voxels in and around the head of `fixed`, from coarse to fine in ever shorter
    steps (SimpleITK). There are two starts, the volumes as their headers place them and with the middles of their heads on each
    other, and the better one is kept. An affine motion is sought from the coarsest and from the finest rigid motion, and the best
    of all is kept, which may be the rigid one. There is no sampling, no seed and one thread, so the same volumes give the same
    motion. Raises FederationError if the volumes share no voxel or one shows no head.
    """
    sitk = simpleitk()
    by_size = {}  # of levels that are the same, because the voxels themselves are no finer, one is kept
    for edge in LEVELS:
        level = _level(fixed, moving, edge)
        by_size[level.fixed.GetSize(), level.moving.GetSize()] = level
    levels = list(by_size.values())
    centre, other = (_centre(coarse(volume, LEVELS[1])) for volume in (fixed, moving))
    starts = []
    for shift in (np.zeros(3), other - centre):
        start = sitk.Euler3DTransform()
        start.SetCenter(centre.tolist())
        start.SetTranslation(shift.tolist())
        starts.append(_climb(levels[:1], start))
    first = max(starts, key=_information)
    best = _climb(levels[1:], sitk.Euler3DTransform(first.transform))
    if kind is Registration.affine:
        coarse_first = _climb(levels, _affine(first.transform))
        fine_only = _climb(levels[-1:], _affine(best.transform), caution=4)
        best = max(best, coarse_first, fine_only, key=_information)
    if not np.isfinite(best.information):
        raise FederationError(
            "the two volumes share no voxel under any motion that was tried; check that both show the head"
        )
    motion, about = np.eye(4), np.array(best.transform.GetCenter())
    motion[:3, :3] = np.reshape(best.transform.GetMatrix(), (3, 3))
    motion[:3, 3] = np.array(best.transform.GetTranslation()) + about - motion[:3, :3] @ about
    return motion


def coarse(volume: Volume, edge: float) -> Volume:
    """The smoothed volume with every k-th of its voxels along each axis, so that they are about `edge` mm apart."""
    every = np.maximum(1, np.round(edge / volume.grid.spacing)).astype(int)
    smooth = ndimage.gaussian_filter(volume.voxels, (every - 1) / 2)
    first = (every - 1) // 2 * (np.array(volume.voxels.shape) > every)
    voxels = smooth[tuple(slice(start, None, step) for start, step in zip(first, every, strict=True))]
    affine = volume.grid.affine @ np.block([[np.diag(every), first[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    x, y, z = voxels.shape
    return Volume(voxels, Grid((x, y, z), affine))


def _level(fixed: Volume, moving: Volume, edge: float) -> _Level:
    one, other = coarse(fixed, edge), coarse(moving, edge)
    near = ndimage.distance_transform_edt(~_head(one), sampling=one.grid.spacing) <= MARGIN
    region = image(near.astype(np.uint8), one.grid)
    return _Level(edge, image(one.voxels, one.grid), image(other.voxels, other.grid), region)


def _head(volume: Volume) -> np.ndarray:
    """The foreground of a volume, bool `[X, Y, Z]`. Raises FederationError if there is none."""
    head = foreground(volume.voxels, volume.grid.edges)
    if not head.any():
        raise FederationError("one of the two volumes shows nothing of the size of a head")
    return head


def _centre(volume: Volume) -> np.ndarray:
    """The middle of the head, mm `[3]`."""
    middle: np.ndarray = volume.grid.affine @ [*np.argwhere(_head(volume)).mean(0), 1]
    return middle[:3]


def _climb(levels: Sequence[_Level], transform: Any, caution: float = 1) -> _Found:
    """The transform, improved in place level by level, and the mutual information that it reaches; -inf without overlap.

    The first step of a level moves the head by an eighth of the level's edge, divided by `caution`: an affine transform can leave
    its optimum by stretching, and does not recover from long steps.
    """
    sitk = simpleitk()
    information = -np.inf
    for level in levels:
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfWorkUnits(1)
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricFixedMask(level.region)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            level.edge / 8 / caution, minStep=1e-4, numberOfIterations=200, gradientMagnitudeTolerance=1e-8
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(level.fixed, level.moving)
        except RuntimeError:  # too few samples inside the moving volume
            return _Found(-np.inf, transform)
        information = -method.GetMetricValue()
    return _Found(information, transform)


def _affine(rigid: Any) -> Any:
    transform = simpleitk().AffineTransform(3)
    transform.SetCenter(rigid.GetCenter())
    transform.SetMatrix(rigid.GetMatrix())
    transform.SetTranslation(rigid.GetTranslation())
    return transform


def _information(found: _Found) -> float:
    return found.information
