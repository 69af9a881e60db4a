"""FedBAdam is FedAdam whose normalisation stays at the site (Fiszer et al., Biomedical Signal Processing and Control, 2026).

Paper: https://doi.org/10.1016/j.bspc.2026.109649
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsynth.exchange import Place

from .fedadam import FedAdam
from .fedbn import NORMS


@dataclass
class FedBAdam(FedAdam):
    """The server moves as FedAdam's; affine parameters and running statistics of normalisation layers do not travel, as in FedBN.
    Unlike FedBN's, the mean of the sites' changes is weighted by training slices, as in the public code.

    What differs from the paper: it could be read in its abstract alone, which says what is combined; the rest is the authors'
    public code, on Flower. Options have FedAdam's defaults, so that the two differ in what travels alone.

    What differs from the released code: there FedAdam is Flower's, with bias correction and with v starting at 0, and `eta` is
    Flower's 0.1, where 0.01 is FedAdam's here; `tau` is 1e-3 in both. It finds the layers by "norm" or "bn" in their names;
    here their class tells. Sites there train a U-Net with batch norm, by Adam and MSE + DSSIM.
    """

    partial: ClassVar[bool] = True

    def travels(self, place: Place) -> bool:
        return super().travels(place) and not isinstance(place.owner, NORMS)
