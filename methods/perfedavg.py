"""Per-FedAvg learns a start from which one local step goes far (Fallah, Mokhtari and Ozdaglar, NeurIPS 2020).

Paper: https://arxiv.org/abs/2002.07948
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from fedsynth.feed import Batch
from fedsynth.method import Nets
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


class Variant(Enum):
    """What becomes of the Hessian that the inner step brings into the gradient."""

    fo = "fo"  # first order: left out
    hf = "hf"  # Hessian-free: its product with the gradient, as a difference of two gradients


PHASES = {Variant.fo: ("look", "apply"), Variant.hf: ("look", "probe", "correct")}


@dataclass
class PerFedAvg(FedAvg):
    """The generator w learns to be good one gradient step later, and takes that step before it serves. With a batch each:

        look      g = grad f(w)
        apply     w moves by v = grad f(w - alpha g)                                      `variant` fo
        probe     v = grad f(w - alpha g)                                                 `variant` hf, which goes on to
        correct   w moves by v - alpha (grad f(w + delta v) - grad f(w - delta v)) / (2 delta)

    Each is a local step, so that all methods see the same batches; the local steps that are left over at the end of a round
    are FedAvg's. The server takes the plain mean of the sites, as in the paper. A site serves w - alpha g, with g of one batch;
    a newcomer's last step is this one, and when it is welcomed it serves w.

    Both rates are SGD's in the paper; here the outer step, beta there, is the trainer's optimiser, which takes v as it takes
    any gradient. The inner step stays plain gradient descent: only its derivative is (I - alpha Hessian). `alpha`: 1e-4, a
    hundredth of FL-bench's, because the loss weighs 1 there and L1 weighs 100 here; on the phantom such a step lowers the
    loss and ten times that raises it. `delta`: 1e-5, by the same rule. `variant`: fo, as there.

    What differs from the paper: discriminators are local and move in every step by the images of the generator that the step
    looks at. The two gradients of the difference are taken in eval mode: with another dropout in each, it would be noise.

    What differs from the released code: the authors' is not known. FL-bench, whose options these are, uses SGD for both steps.
    """

    equal_weights: ClassVar[bool] = True
    variant: Variant = Variant.fo  # whether the Hessian is left out or approximated
    alpha: float = 1e-4  # rate of the inner step
    delta: float = 1e-5  # length of the difference that approximates the Hessian

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError(f"method.alpha is {self.alpha}; it must be at least 0")
        if self.delta <= 0:
            raise ValueError(f"method.delta is {self.delta}; it must be above 0")

    def phase(self, site: SiteState, k: int) -> str:
        phases = PHASES[self.variant]
        return phases[k % len(phases)] if k < site.steps - site.steps % len(phases) else "plain"

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        nets: Nets = site.nets
        if site.phase in ("apply", "probe"):
            nets = moved(site, -self.alpha * site.memory.tensor("gradient"))
        for player, loss in self.objective(nets, batch):
            if player == "generator" and site.phase in ("look", "probe"):
                site.memory["gradient"] = site.slope(player, loss)
            elif player == "generator" and site.phase == "correct":
                yield player, torch.as_tensor(site.inner(player, self.corrected(site, batch)))
            else:
                yield player, loss

    def corrected(self, site: SiteState, batch: Batch) -> Tensor:
        """v minus alpha times the Hessian at w times v, by a central difference."""
        v = site.memory.tensor("gradient")
        with site.training(False):
            ahead, behind = (self.gradient(moved(site, way * v), site, batch) for way in (self.delta, -self.delta))
        return v - self.alpha * (ahead - behind) / (2 * self.delta)

    def gradient(self, nets: Nets, site: SiteState, batch: Batch) -> Tensor:
        """The gradient of the generator's loss in these nets; the discriminator does not move."""
        return site.slope("generator", dict(self.objective(nets, batch))["generator"])

    def adapt(self, site: SiteState) -> None:
        site.steps -= 1  # the last is the inner step before it serves
        super().adapt(site)

    def personalise(self, site: SiteState) -> None:
        if site.spend(1):
            [batch] = site.draw("adapt", 1)
            with site.training(True):
                site.load(site.pack() - self.alpha * self.gradient(site.nets, site, batch))


def moved(site: SiteState, way: Tensor) -> Nets:
    """The site's nets with the generator moved by a flat vector; gradients reach the generator's own parameters."""
    generator = site.nets["generator"]
    parts = {id(parameter): part for parameter, part in site.along("generator", way)}
    there = {name: p + parts[id(p)] for name, p in generator.named_parameters() if id(p) in parts}
    return {
        "generator": lambda *given: functional_call(generator, there, given),
        "discriminators": site.nets["discriminators"],
    }
