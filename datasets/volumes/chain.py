"""The options of the chain of steps that turns the volumes of a subject into slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsynth.federation import FederationError

from .register import Registration


@dataclass
class Chain:
    """The steps from volumes to slices, in this order. A change of any option changes the arrays.

    In every case each volume is turned to the right-anterior-superior axes nearest to its own, without interpolation, divided by
    1.08 times the 99.5th percentile of the head's core (mask.py), clipped to [0, 1] and scaled to [-1, 1]. Slices are cut along
    the third axis of the grid of the reference contrast, or of the template. The defaults do nothing else, and expect that all
    volumes of a subject share one grid. `bias`, `register` and `template` need SimpleITK. Raises FederationError for invalid
    values.
    """

    bias: bool = False  # remove the bias field by N4; off, since shading is one of the differences between sites
    register: Registration = Registration.none  # contrasts to the reference; none: all must share one grid
    reference: str = ""  # contrast to which the others are registered; empty: the first
    template: str = ""  # a volume to whose grid an affine motion brings the subject; empty: the reference's grid
    mask: str = "head"  # the foreground: "head", found in the volumes, or a pattern of masks on the reference's grid
    strip: bool = False  # make everything outside the foreground black
    foreground: float = 0.3  # least foreground of a slice, as a share of that of the subject's fullest slice
    slices: int = 0  # at most so many of a subject, evenly spaced; 0: all
    size: int = 256  # height and width of a slice, pixels
    spacing: float = 1.0  # edge of a pixel, mm

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.spacing < np.inf or self.slices < 0 or not 0 < self.foreground <= 1:
            raise FederationError(
                f"dataset.chain: size {self.size} and spacing {self.spacing} must be positive, slices {self.slices} not negative,"
                f" and foreground {self.foreground} in (0, 1]"
            )
        if self.mask != "head" and "{subject}" not in self.mask:
            raise FederationError(
                f"dataset.chain.mask={self.mask!r} must be head, or a pattern of masks with {{subject}}; HD-BET and SynthStrip"
                " make masks of the brain"
            )
