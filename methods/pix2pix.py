"""pix2pix translates paired images, trained on all sites' slices in one place (Isola et al., CVPR 2017).

Paper: https://arxiv.org/abs/1611.07004
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .pooled import Pooled


@dataclass
class Pix2pix(Pooled):
    """`pooled` on the U-Net, the centralised baseline of pFLSynth's released code: LSGAN + 100 L1.

    What differs from the paper: its loss is the cross-entropy GAN's. Its network is another U-Net, of eight halvings, with
    dropout as noise.

    What differs from the released code, by which pFLSynth's is meant: it trains this method for 100 epochs and the others for
    150; here all have as many steps. The rest as in `pflsynth`. It has no oracle of its own: `tests/methods/test_pooled.py`
    holds it to `pooled` on this network, bit for bit.
    """

    published: ClassVar[str] = "unet"
