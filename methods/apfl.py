"""APFL mixes a personal model with the federated one (Deng, Kamani and Mahdavi, arXiv 2003.13461, 2020).

Paper: https://arxiv.org/abs/2003.13461
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedsynth.feed import Batch
from fedsynth.method import Blueprint
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class APFL(FedAvg):
    """Every site trains the federated generator w as FedAvg does. On the same batches it trains a personal generator v by the
    loss of the mixed one, alpha v + (1 - alpha) w, which it serves. Only v learns by that loss, so its gradient has the factor
    alpha.

    `alpha`: 0.5, as in FedTorch, the authors' code. `adaptive`: off, as there. If it is on, every site moves its own alpha from
    `alpha` by the mixed model's loss, whose gradient is <v - w, gradient by the mixed model>, and clips it to [0, 1]. It uses
    the trainer's optimiser and rate, since the paper and the code give alpha the rate of the weights.

    The mixed model needs discriminators of its own, or alpha 1 would not be local training. Its running statistics are the
    personal generator's. It trains first: with w as it was before the step, as in the paper, and with the noise of local
    training. A site that never trained serves w; as a newcomer that adapts, it starts v from w. This takes twice the gradient
    evaluations of FedAvg.

    What differs from the paper: the mean is weighted by training slices (the paper's is plain).

    What differs from the released code: it mixes images; the paper mixes parameters, as is done here. It moves alpha only in
    the first step of a round and adds 0.02 alpha to its gradient; here alpha moves in every step, by its gradient.
    """

    alpha: float = 0.5  # the personal share of the mixed model
    adaptive: bool = False  # whether every site moves its own alpha

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"method.alpha is {self.alpha}; it must be from 0 to 1")

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        alpha = nn.Parameter(torch.tensor(self.alpha), requires_grad=self.adaptive)
        own = {"personal": super().build(blueprint), "alpha": nn.ParameterList([alpha])}
        return nn.ModuleDict({**super().build(blueprint), **own})

    def mixed(self, site: SiteState) -> Callable[[Tensor, Tensor], Tensor]:
        """The generator alpha v + (1 - alpha) w, through which v and alpha get gradients."""
        personal, federated = site.nets.get_submodule("personal.generator"), site.nets["generator"]
        pairs = zip(personal.named_parameters(), federated.parameters(), strict=True)
        alpha = next(site.nets["alpha"].parameters())
        parameters = {name: w.detach().lerp(v, alpha) for (name, v), w in pairs}
        return lambda *given: functional_call(personal, parameters, given)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        nets = {"generator": self.mixed(site), "discriminators": site.nets.get_submodule("personal.discriminators")}
        for name, loss in self.objective(nets, batch):
            if name == "generator" and self.adaptive:
                yield ("personal.generator", "alpha"), loss
                with torch.no_grad():
                    next(site.nets["alpha"].parameters()).clamp_(0, 1)
            else:
                yield f"personal.{name}", loss
        yield from super().step(site, batch)

    def personalise(self, site: SiteState) -> None:
        if not site.trained:
            site.load(site.pack(), site.pack_buffers(), "personal")

    def adapt(self, site: SiteState) -> None:
        self.personalise(site)
        super().adapt(site)

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        return self.mixed(site)(batch.source, batch.code)
