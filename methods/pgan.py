"""pGAN is a conditional GAN, trained on all sites' slices in one place (Dar et al., IEEE TMI 2019).

Paper: https://arxiv.org/abs/1802.01221
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .pooled import Pooled


@dataclass
class PGAN(Pooled):
    """`pooled` on the residual network, the centralised baseline of pFLSynth's released code: LSGAN + 100 L1.

    What differs from the paper: it adds a perceptual term (features of a VGG-16 that was trained on ImageNet, weight 100) and
    reads three neighbouring slices. pFLSynth's released code does neither, and this suite has no pretrained weights.

    What differs from the released code: pFLSynth's is meant. Its generator adds a learned image of 256 x 256 before the tanh,
    which ties it to one size; here that is one number. The rest as in `pflsynth`. It has no oracle of its own:
    `tests/methods/test_pooled.py` holds it to `pooled` on this network, bit for bit.
    """

    published: ClassVar[str] = "resnet"
