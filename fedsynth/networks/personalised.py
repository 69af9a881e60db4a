"""pFLSynth's generator is the residual network, personalised by the code of site and task (Dalmaz et al. 2024).

After every stage but the last a personalisation block shapes the feature maps (networks/conditioning.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from .conditioning import Condition
from .resnet import ResNet


@dataclass
class Personalised(ResNet):
    """The published network is `resnet` with `condition=site_task`; other conditions are ablations of it."""

    condition: Condition = Condition.site_task  # what of the code the generator reads
