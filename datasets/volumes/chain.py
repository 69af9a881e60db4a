"""The preprocessing chain of a subject: which of its steps are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsynth.federation import FederationError

from .register import Registration


@dataclass
class Chain:
    """The steps from volumes to slices, in this order. Whatever changes here changes the arrays.

    Always: each volume is turned to its nearest right-anterior-superior axes, without interpolation, divided by 1.08 times the
    99.5th percentile of its own foreground, clipped to [0, 1] and shown as [-1, 1]; slices are cut along the third axis of the
    reference contrast's grid, or of the template's. The defaults take volumes that share a grid and change no more than that;
    `bias`, `register` and `template` need SimpleITK. Raises FederationError for values that cannot be.
    """

    bias: bool = False  # N4; off, since a site's shading is one of the differences that methods are compared on
    register: Registration = Registration.none  # each contrast to the reference contrast; none: all must share one grid
    reference: str = ""  # contrast that the others are registered to; empty: the first
    template: str = ""  # path of a volume to whose grid an affine motion brings the subject; empty: the reference's own
    mask: str = "head"  # the foreground: "head", found in the volumes, or the pattern of masks on the reference's grid
    strip: bool = False  # make all outside the mask dark
    foreground: float = 0.3  # slices with less foreground than this share of the subject's fullest one are left out
    slices: int = 0  # a subject, at most, evenly spaced among those; 0: all
    size: int = 256  # pixels, height and width of a slice
    spacing: float = 1.0  # mm, edge of a pixel

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.spacing < np.inf or self.slices < 0 or not 0 < self.foreground <= 1:
            raise FederationError(
                f"chain: size {self.size} and spacing {self.spacing} must be positive, slices {self.slices} not negative and"
                f" foreground {self.foreground} in (0, 1]"
            )
        if self.mask != "head" and "{subject}" not in self.mask:
            raise FederationError(
                f"chain.mask={self.mask!r} must be head or the pattern of given masks, with {{subject}}; make masks of the brain"
                " with HD-BET or SynthStrip"
            )
