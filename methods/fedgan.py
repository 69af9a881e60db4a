"""FedGAN averages generators and discriminators (Rasouli, Sun and Rajagopal, arXiv 2006.07228, 2020).

Paper: https://arxiv.org/abs/2006.07228
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsynth.exchange import Place

from .fedavg import FedAvg


@dataclass
class FedGAN(FedAvg):
    """The discriminators travel as well as the generator. Both are averaged with the paper's weights p_i, the shares of samples.

    The paper synchronises every K local steps: here K is a round, `trainer.local_steps` or `trainer.local_epochs`. A
    discriminator belongs to a task, so it is averaged over the sites that have the task, with weights that add up to 1.

    What differs from the paper: LSGAN + 100 L1 instead of the plain GAN loss; a discriminator for each task.

    What differs from the released code: the authors' is not known. pFLSynth's FedGAN averages generators alone; here that is
    `fedavg`.
    """

    def travels(self, place: Place) -> bool:
        return place.net in ("generator", "discriminators")
