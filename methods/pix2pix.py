"""pix2pix translates paired images, trained on all sites' slices in one place (Isola et al., CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .pooled import Pooled


@dataclass
class Pix2pix(Pooled):
    """`pooled` on the U-Net, the centralised baseline of pFLSynth's released code: LSGAN + 100 L1.

    What differs: the paper's loss is the cross-entropy GAN's, and its network has dropout as noise. The released code trains it
    for 100 epochs and others for 150; here all methods have as many steps.
    """

    published: ClassVar[str] = "unet"
