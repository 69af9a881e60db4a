"""LG-FedAvg shares the last layers and keeps the first ones local (Liang et al., arXiv 2001.01523, 2020).

Paper: https://arxiv.org/abs/2001.01523
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsynth.exchange import Place

from .fedavg import FedAvg
from .fedper import stage


@dataclass
class LGFedAvg(FedAvg):
    """The last stages of the generator travel, the first ones stay; both train together. pFLSynth splits the same way: this is
    its control, without personalisation blocks.

    `share`: the part of the stages that travels, 0.6 as 3 of 5 layers in the released MNIST command (`num_layers_keep`); with 9
    residual blocks it is 9 of 15, where pFLSynth shares 7. At least one stage travels and one stays. Conditioning goes with
    the stage that it follows, the mapper with the first.

    What differs from the paper: nothing but what all methods share: `tests/support/oracles/averages.py` says it in plain
    torch, and `tests/methods/test_oracles.py` follows three rounds of both.

    What differs from the released code: it starts from a FedAvg model; here all start from the common start. It keeps each
    site's best model by its test score; here none is chosen by that. Its mean is not weighted, but its sites have one size.
    Its CIFAR10 network lists the convolutions last, so that it shares the first layers; the paper's text shares the last.
    """

    partial: ClassVar[bool] = True
    share: float = 0.6  # the part of the stages that travels

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"method.share is {self.share}; it must be above 0 and below 1")

    def travels(self, place: Place) -> bool:
        if not super().travels(place):
            return False
        number, count = stage(place)
        return number > count - min(max(1, round(self.share * count)), count - 1)
