"""SCAFFOLD corrects the drift of each site by control variates (Karimireddy et al., ICML 2020).

Paper: https://arxiv.org/abs/1910.06378
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class SCAFFOLD(FedAvg):
    """Every gradient of a site's generator is corrected by c - c_k, the mean control of all sites minus its own, so that sites
    with different data do not drift apart: algorithm 1, option II.

    In the paper the new c_k is c_k - c + (w_server - w_k) / (tau * lr) after tau steps of SGD, which is the mean of the gradients
    before correction. Here c_k is that mean for any optimiser: the mean of the gradients that moved the generator, minus the
    correction. Under SGD the two are the same. Adam takes the corrected gradient as it takes any other. The server adds the
    changes of c_k, divided by the number of all sites, to c, which so stays their mean when some are absent. It moves by
    `eta_g` (1, as in the paper's experiments) towards the sites' mean model. Discriminators are local and not corrected, nor
    is a newcomer: its own control would be 0, so that c alone would drive it.

    What differs from the paper: c_k for optimisers other than SGD, as said. The mean model is weighted by training slices, as
    FedAvg's (the paper's is plain); the controls' mean is plain.

    What differs from the released code: the authors' is not known. FL-bench and PFLlib have `eta_g` 1 too.
    """

    eta_g: float = 1.0  # how far the server moves towards the sites' mean

    def download(self, server: Server, name: str) -> Message:
        control = server.memory.get("control", torch.zeros_like(server.model))
        return Message(super().download(server, name), control=control)

    def welcome(self, server: Server, name: str) -> Message:
        message = self.download(server, name)
        return Message(message, control=torch.zeros_like(message.model))  # it has no control, so nothing corrects it

    def receive(self, site: SiteState, message: Message) -> None:
        super().receive(site, message)
        site.memory.setdefault("control", torch.zeros_like(message.model))
        site.memory["correction"] = message.tensor("control") - site.memory.tensor("control")
        site.memory["gradients"] = torch.zeros_like(message.model)

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        for player, loss in super().step(site, batch):
            yield player, loss + site.inner(player, site.memory.tensor("correction"))
            if player == "generator":
                site.memory.tensor("gradients").add_(site.gradient(player))

    def upload(self, site: SiteState) -> Message:
        control = site.memory.tensor("control")
        change = site.memory.tensor("gradients") / site.steps - site.memory.tensor("correction") - control
        site.memory["control"] = control + change  # rounded as at the server, so that a site alone is never corrected
        return Message(super().upload(site), change=change)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        super().aggregate(server, uploads)
        server.model = before.lerp(server.model, self.eta_g)
        change = server.mean(uploads, "change", dict.fromkeys(uploads, 1.0)) * len(uploads) / len(server.names)
        server.memory["control"] = server.memory.get("control", torch.zeros_like(change)) + change
