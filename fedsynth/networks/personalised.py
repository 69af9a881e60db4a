"""pFLSynth's generator: the residual network, personalised by a code of site, source and target contrast.

After every stage but the last a personalisation block shapes the feature maps (networks/conditioning.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from .conditioning import Condition
from .resnet import ResNet


@dataclass
class Personalised(ResNet):
    """The published network is `resnet` with `condition=site_task`; the other conditions are ablations of it."""

    condition: Condition = Condition.site_task
