"""The preprocessing chain of one subject: which steps it takes, and the slices that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedsynth.federation import FederationError

from .register import Quality, Registration


@dataclass
class Chain:
    """The steps from volumes to slices, in this order. An identity of the data: whatever changes here changes the arrays.

    Always: each volume is turned to its nearest right-anterior-superior axes (no interpolation), and slices are cut along the
    third. Raises FederationError for values that cannot be.
    """

    bias: bool = False  # N4 bias-field correction of each volume
    register: Registration = Registration.none  # each contrast to the reference contrast; none: all must share one grid
    reference: str = ""  # contrast that the others are registered to; empty: the first
    template: str = ""  # path of a volume whose space the reference contrast is brought to (affine); empty: its own space
    mask: str = "head"  # the foreground: "head", found in the volumes, or the pattern of given masks on the reference's grid
    strip: bool = False  # make all outside the mask dark
    size: int = 256  # pixels, height and width of a slice
    spacing: float = 1.0  # mm, edge of a pixel
    foreground: float = 0.3  # slices with less foreground than this share of the subject's fullest one are left out
    slices: int = 0  # a subject, at most, evenly spaced among those; 0: all

    def __post_init__(self) -> None: ...


class Processed(NamedTuple):
    """Slices of one subject, from below up, rows running from front to back and columns from the person's left to right."""

    images: np.ndarray  # float16 [N, C, H, W] in [-1, 1], contrasts in the order given
    masks: np.ndarray  # bool [N, H, W], the foreground
    rows: tuple[int, ...]  # where each slice lies along the third axis of the grid, N indices
    affine: np.ndarray  # float64 [4, 4]: (row, column, index along the third axis, 1) -> mm in the reference contrast's world
    spacing: dict[str, tuple[float, float, float]]  # contrast -> edges of its voxels, mm, along right, anterior, superior
    source_affines: dict[str, np.ndarray]  # contrast -> float64 [4, 4] of its file, turned to right-anterior-superior
    white: dict[str, float]  # contrast -> the intensity shown as 1
    quality: dict[str, Quality]  # contrast -> how its registration went, of those that were registered
    lost: float  # share of the foreground that lies outside the slices' pixels, at most 0.05


def process(
    subject: str, volumes: Mapping[str, Path], chain: Chain, mask: Path | None = None, chosen: int | None = None
) -> Processed:
    """The slices of one subject. `volumes`: contrast -> a NIfTI file or a folder with one DICOM series.

    `mask` is the given mask, where `chain.mask` is a pattern; `chosen` the index of the volume to take from 4-D files.
    Raises FederationError that names the file, what was found and what to do.
    """
    raise FederationError("not yet")
