"""FedFomo mixes for every site the models that lower its loss (Zhang et al., ICLR 2021).

Paper: https://arxiv.org/abs/2012.08565
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch

from fedsynth import streams
from fedsynth.exchange import Message
from fedsynth.server import Server
from fedsynth.site import SiteState

from .fedavg import FedAvg


@dataclass
class FedFomo(FedAvg):
    """A site is sent the last models of `models` other sites, as they are. t_k is the model from which its last training began,
    w_k the one that it ended with. It weighs w_k and the models sent by how much less they lose on its data, per distance:

        g_n = (L_k(t_k) - L_k(w_n)) / |w_n - t_k|,   t_k <- t_k + sum_n max(g_n, 0) (w_n - t_k) / sum_n max(g_n, 0)

    If no model loses less, it returns to t_k. The server sends the models with the highest affinity, which is the sum of g_n
    over earlier rounds; with the probability `epsilon` - round x `decay` it picks one at random instead, and ties are broken at
    random. All models that are sent count in the bytes.

    `models`: 4, which is the paper's M of 5 without the site's own. `epsilon`: 0.3, as in the released commands. `decay`: 0.05,
    as there. `sample`: 0.2 of the local slices, the share that the released code holds out. The loss is the generator's, LSGAN
    by the site's own discriminators + 100 L1, in eval mode; buffers are mixed by the same weights.

    What a site serves is a mixture made when it serves, of the models that it would be sent next: the start of its next round.

    What differs from the paper: the paper weighs on slices that a site does not train on. Here every method trains on the whole
    train split, and the val split is kept for choosing the round, so the sample is of training slices, drawn anew each round
    and not augmented (PFLlib, too, takes training batches).

    What differs from the released code: the same. The distance is the paper's |.|_2, where the default there is |.|_1. The
    affinity adds g_n, as in the paper, where that code divides by each round's sum. The optimiser's state stays, where that
    code makes it anew. It logs both the mixture and the model after local training; here the mixture alone is scored.
    """

    averages: ClassVar[bool] = False  # but for a site that has not trained yet
    models: int = 4  # how many other sites' models a site is sent
    epsilon: float = 0.3  # probability of a random model in round 0
    decay: float = 0.05  # by which epsilon falls each round
    sample: float = 0.2  # share of the local slices that weigh the models

    def __post_init__(self) -> None:
        if self.models < 1:
            raise ValueError(f"method.models is {self.models}; it must be at least 1")
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"method.epsilon is {self.epsilon}; it must be from 0 to 1")
        if self.decay < 0:
            raise ValueError(f"method.decay is {self.decay}; it must be at least 0")
        if not 0 < self.sample <= 1:
            raise ValueError(f"method.sample is {self.sample}; it must be above 0 and at most 1")

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        super().aggregate(server, uploads)
        server.memory["round"] = int(server.memory.get("round", 0)) + 1
        for name, upload in uploads.items():
            for key in ("model", "buffers", "affinity"):
                server.memory[f"{key} of {name}"] = upload.tensor(key)

    def choose(self, server: Server, name: str) -> list[int]:
        """Which sites' models to send, as places in server.names."""
        round = int(server.memory.get("round", 0))
        stream = streams.host(server.seed, "fedfomo", name, round)
        known = [k for k, other in enumerate(server.names) if other != name and f"model of {other}" in server.memory]
        left = [known[k] for k in stream.permutation(len(known))]
        key = f"affinity of {name}"
        affinity = server.memory.tensor(key).tolist() if key in server.memory else [0.0] * len(server.names)
        chosen: list[int] = []
        while left and len(chosen) < self.models:
            explore = stream.random() < self.epsilon - round * self.decay
            chosen.append(left.pop(0 if explore else max(range(len(left)), key=lambda k: affinity[left[k]])))
        return sorted(chosen)

    def download(self, server: Server, name: str) -> Message:
        chosen = self.choose(server, name)
        if not chosen:  # nobody else has trained yet
            return Message(super().download(server, name), sites=len(server.names))
        model, buffers = (
            torch.stack([server.memory.tensor(f"{key} of {server.names[k]}") for k in chosen])
            for key in ("model", "buffers")
        )
        who = torch.tensor(chosen, device=model.device)
        return Message(model=model, buffers=buffers, who=who, sites=len(server.names))

    def receive(self, site: SiteState, message: Message) -> None:
        site.memory.setdefault("affinity", torch.zeros(int(message["sites"]), device=site.device))
        site.memory.setdefault("start", site.pack())
        site.memory.setdefault("start buffers", site.pack_buffers())
        if "who" in message:
            self.mix(site, message)
        else:
            super().receive(site, message)
        site.received = site.pack()
        site.memory["start"], site.memory["start buffers"] = site.received, site.pack_buffers()

    def mix(self, site: SiteState, message: Message) -> None:
        """Load the first-order mixture of the models that arrived and the site's own, and add to the affinity."""
        models = torch.stack([site.memory.tensor("start"), site.pack(), *message.model])
        buffers = torch.stack([site.memory.tensor("start buffers"), site.pack_buffers(), *message.buffers])
        batches = site.draw("weights", ceil(self.sample * site.epoch))
        losses = []
        for model, of_model in zip(models, buffers, strict=True):
            site.load(model, of_model)
            with torch.no_grad():
                each = [dict(self.objective(site.nets, batch))["generator"] for batch in batches]
            losses.append(torch.stack(each).mean())
        loss = torch.stack(losses)
        gains = (loss[0] - loss[1:]) / (models[1:] - models[0]).norm(dim=1).clamp_min(1e-12)
        site.memory.tensor("affinity").index_add_(0, message.tensor("who"), gains[1:])
        shares = gains.relu() / gains.relu().sum()  # NaN where none is above 0
        helped = (gains > 0).any()
        mixed, mixed_buffers = (torch.where(helped, shares @ rows[1:], rows[0]) for rows in (models, buffers))
        site.load(mixed, mixed_buffers)

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), affinity=site.memory.tensor("affinity"))
