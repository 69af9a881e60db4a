"""How well two volumes of a subject lie on each other, judged without knowing their true places: against deliberate errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage.metrics import normalized_mutual_information
from skimage.transform import resize
from skimage.util import compare_images

from .mask import foreground
from .register import BINS, MARGIN, coarse
from .volume import Volume

EDGE = 2.0  # mm, of the voxels among which points are drawn
BLUR = 1.5  # mm, standard deviation by which both volumes are smoothed, so that noise and voxels' edges count little
POINTS = 10_000  # at which the volumes are compared, in and around the head
STEPS = (4, 8)  # mm and degrees, of the deliberate errors
BEST = 2  # turns that are tried with a shift besides
# What the mutual information must lose by every one of them; where it would rather gain, the volumes do not lie on each other.
# Independent noise loses up to 0.001 by chance, the real pairs of docs/data.md lose 0.014 or more.
LEAST_GAIN = 0.003
SCALES = (0.75, 1.33)  # the least and the most by which an affine motion may stretch a head
TOWARDS = (("left", "right"), ("back", "front"), ("down", "up"))
AXES = ("left to right", "back to front", "bottom to top")
TILE = 192  # pixels, height and width of a plane in a checkerboard


class Quality(NamedTuple):
    """How well one volume lies on the reference contrast's, as the registration or, without one, the headers place it."""

    mi_before: (
        float  # normalised mutual information in and around the head as headers place it: 1 if independent, 2 if equal
    )
    mi_after: float  # under the motion
    gain: float  # by how much `mi_after` exceeds the greatest one after a deliberate error; below LEAST_GAIN it is poor
    mirror_gain: float  # by how much it exceeds that of the mirror image; below -LEAST_GAIN the volume may be mirrored
    motion: (
        np.ndarray | None
    )  # float64 [4, 4], mm: from the fixed volume's world to the moving one's; None: as headers place it
    poor: bool  # whether it lies elsewhere, or the motion stretches a head beyond `SCALES`
    fault: str  # what is wrong, with the number that says so; "" if nothing is


def alignment(fixed: Volume, moving: Volume, motion: np.ndarray | None = None) -> Quality:
    """Compare two volumes under `motion`, or as headers place them, with deliberate errors around it and the mirror image.

    A pair that lies well loses by an error of 4 or 8 mm or degrees in any direction, however little its contrasts tell of each
    other; one that lies wrong is better after the error that happens to undo a part of it. Points are the same for every error.
    """
    compare = _Comparison(fixed, moving)
    placed = np.eye(4) if motion is None else motion
    still, after = compare(np.eye(4)), compare(placed)
    shifts, turns = ({words: placed @ error for words, error in each} for each in (_shifts(), _turns(compare.middle)))
    errors = {words: compare(error) for words, error in (shifts | turns).items()}
    for turn in sorted(turns, key=errors.__getitem__)[-BEST:]:  # a turn about another point is a turn and a shift
        errors |= {f"{turn} and {words}": compare(turns[turn] @ shift) for words, shift in _shifts(STEPS[:1])}
    words = max(errors, key=errors.__getitem__)
    mirrored = max(compare(placed @ mirror) for mirror in _mirrors(compare.middle))
    gain, mirror_gain = after - errors[words], after - mirrored
    scales = np.linalg.svd(placed[:3, :3], compute_uv=False)
    poor, fault = True, ""
    if scales.max() > SCALES[1] or scales.min() < SCALES[0]:
        fault = (
            f"the motion scales the head by {scales.min():.2f} to {scales.max():.2f}, beyond {SCALES[0]} to {SCALES[1]}"
        )
    elif mirror_gain < min(gain, -LEAST_GAIN):
        poor = gain < LEAST_GAIN
        fault = f"normalised mutual information is {after:.4f}, and {mirrored:.4f} for its mirror image, left for right"
    elif gain < LEAST_GAIN:
        fault = (
            f"normalised mutual information is {after:.4f}, and {errors[words]:.4f} when it is {words} on purpose,"
            f" which must cost at least {LEAST_GAIN}"
        )
    else:
        poor = False
    return Quality(still, after, gain, mirror_gain, motion, poor, fault)


def checkerboard(one: np.ndarray, other: np.ndarray, heights: float) -> np.ndarray:
    """Two contrasts of a subject in turn, tile by tile: edges go on from tile to tile where they lie on each other.

    Args:
        one: Axial slices in [-1, 1], `[N, H, W]`.
        other: The same slices of another contrast.
        heights: Distance between slices, in pixels.

    Returns:
        The slices at a quarter, half and three quarters of the height, and the coronal and sagittal planes through the middle,
        side by side, uint8.
    """
    count, rows, columns = one.shape
    places = [(count * part // 4, slice(None), slice(None)) for part in (1, 2, 3)]
    upright = [(slice(None, None, -1), rows // 2, slice(None)), (slice(None, None, -1), slice(None), columns // 2)]
    planes = []
    for place in (*places, *upright):
        pair = []
        for stack in (one, other):
            plane = (stack[place].astype(np.float32) + 1) / 2
            size = np.array(plane.shape) * ((heights, 1) if place in upright else (1, 1))
            plane = resize(plane, np.maximum(1, np.round(size * TILE / max(size))).astype(int), order=1)
            pad = TILE - np.array(plane.shape)
            plane = np.pad(plane, [(each // 2, each - each // 2) for each in pad])
            pair.append(plane / max(1e-6, float(np.percentile(plane, 99.5))))
        planes.append(compare_images(*np.clip(pair, 0, 1), method="checkerboard", n_tiles=(8, 8)))
    shown: np.ndarray = (np.hstack(planes) * 255).round().astype(np.uint8)
    return shown


class _Comparison:
    """The mutual information of two volumes under any motion, at points that are drawn once, off the grids of both: on a grid,
    interpolation would smooth one motion more than another."""

    def __init__(self, fixed: Volume, moving: Volume) -> None:
        fixed, self._moving = (_blurred(coarse(volume, EDGE)) for volume in (fixed, moving))
        head = (
            foreground(fixed.voxels, fixed.grid.edges) if (fixed.voxels > 0).any() else np.zeros(fixed.grid.shape, bool)
        )
        if not head.any():
            head = ~head
        near = np.argwhere(ndimage.distance_transform_edt(~head, sampling=fixed.grid.spacing) <= MARGIN)
        random = np.random.default_rng(0)
        places = near[random.integers(len(near), size=POINTS)] + random.uniform(-0.5, 0.5, (POINTS, 3))
        self.middle = (fixed.grid.affine @ [*np.argwhere(head).mean(0), 1])[:3]
        self._points = fixed.grid.affine @ np.column_stack([places, np.ones(POINTS)]).T
        self._values = ndimage.map_coordinates(fixed.voxels, places.T, order=1, mode="nearest")
        self._inverse = np.linalg.inv(self._moving.grid.affine)

    def __call__(self, motion: np.ndarray) -> float:
        """Normalised mutual information (Studholme et al. 1999), which does not depend on how much overlaps."""
        places = (self._inverse @ motion @ self._points)[:3]
        extent = np.array(self._moving.grid.shape)[:, None]
        inside = ((places >= -0.5) & (places <= extent - 0.5)).all(axis=0)
        one = self._values[inside]
        other = ndimage.map_coordinates(self._moving.voxels, places[:, inside], order=1, mode="nearest")
        if len(one) < POINTS // 10 or np.ptp(one) == 0 or np.ptp(other) == 0:
            return 1.0  # constant intensities carry no information
        return float(normalized_mutual_information(one, other, bins=BINS))


def _blurred(volume: Volume) -> Volume:
    smooth = ndimage.gaussian_filter(volume.voxels, BLUR / volume.grid.spacing)
    return Volume(_clipped(smooth), volume.grid)


def _clipped(values: np.ndarray) -> np.ndarray:
    """Without the brightest of those above 0, so that a few do not take most of the bins."""
    bright = values[values > 0]
    return np.minimum(values, np.percentile(bright, 99.5)) if len(bright) else values


def _shifts(steps: Sequence[int] = STEPS) -> Iterator[tuple[str, np.ndarray]]:
    """Deliberate shifts in words and as motions: along axes, and of the first step along diagonals too."""
    for step in steps:
        for way in product((-1, 0, 1), repeat=3):
            if any(way) and (step == STEPS[0] or np.count_nonzero(way) == 1):
                words = " and ".join(TOWARDS[axis][sign > 0] for axis, sign in enumerate(way) if sign)
                motion = np.eye(4)  # of the points, against which the volume moves
                motion[:3, 3] = -step * np.array(way) / np.linalg.norm(way)
                yield f"moved {step} mm {words}", motion


def _turns(middle: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Deliberate turns about axes through the middle of the head."""
    for step, axis, sign in product(STEPS, range(3), (-1, 1)):
        degrees = sign * step * np.eye(3)[axis]
        words = f"turned {sign * step} degrees about the axis from {AXES[axis]}"
        yield words, _about(middle, degrees, np.zeros(3))


def _mirrors(middle: np.ndarray) -> Iterator[np.ndarray]:
    """Reflections, left for right, in planes near the middle of the head."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    for shift, degrees in product((-6, -3, 0, 3, 6), (-4, 0, 4)):
        yield _about(middle, (0, 0, degrees), np.array([shift, 0, 0]), flip)


def _about(
    middle: np.ndarray, degrees: Sequence[float] | np.ndarray, mm: np.ndarray, first: np.ndarray | None = None
) -> np.ndarray:
    """The motion that turns about axes through `middle`, then shifts."""
    motion = np.eye(4) if first is None else first.copy()
    motion[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ motion[:3, :3]
    motion[:3, 3] = middle - motion[:3, :3] @ middle + mm
    return motion
