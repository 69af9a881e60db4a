"""pFedMe trains personal models by Moreau envelopes (Dinh, Tran and Nguyen, NeurIPS 2020).

Paper: https://arxiv.org/abs/2006.08848
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedsynth.exchange import Message
from fedsynth.feed import Batch
from fedsynth.server import Server
from fedsynth.site import SiteState
from fedsynth.step import Pairs

from .fedavg import FedAvg


@dataclass
class PFedMe(FedAvg):
    """On every batch a site takes `inner_steps` steps of a personal model theta on the loss plus lam/2 |theta - w_k|^2. Then it
    moves its local model w_k, which travels, by w_k <- w_k - eta lam (w_k - theta). It serves theta.

    The generator's net holds theta; w_k is a vector that no optimiser moves. Both start a round from the server's w. theta
    goes on from batch to batch, as in the released code, and the theta at the end of a round is served. A site that never
    trained serves w. The server takes (1 - beta) w + beta times the mean of the w_k, weighted by training slices.

    `inner_steps` (the paper's K) 5 and `beta` 1 are the released code's. `lam`: 1500, `eta`: 5e-5. That code has 15 (`lamda`) and
    0.005 (`learning_rate`) beside a cross entropy of weight 1; 100 L1 needs 100 times as much lam, and w_k moves by the same
    share, eta lam. The ratio of gradients is 0.8; with 15 it would be 0.1, and theta would not be held by w_k.
    The rate of the inner steps, there `personal_learning_rate` (0.09, of plain SGD), is `trainer.lr`, with any optimiser; it
    decays, and `eta` does not.

    A batch's inner problem has one loss, so its discriminator moves once, in the first inner step. Buffers that travel are
    theta's: w_k is never run. A batch takes 1 + K gradient evaluations instead of 2.

    What differs from the paper: the mean is weighted by training slices, as in the released code (the paper's is plain). With
    Adam the inner steps of a batch begin with the moments that the last batch left; the paper's inner problem is solved anew.
    Absent sites do not train; in the paper all train and the server takes the uploads of some.

    What differs from the released code: it, too, trains absent sites. It decays theta by mu 0.001 in the inner steps, which the
    paper does not have; its inner steps are of plain SGD. Adam's moments as above.
    """

    lam: float = 1500.0  # strength of the pull of theta towards w_k
    inner_steps: int = 5  # steps of theta on each batch
    eta: float = 5e-5  # rate at which w_k follows theta
    beta: float = 1.0  # how far the server moves towards the sites' mean

    def __post_init__(self) -> None:
        for option in ("lam", "eta", "beta"):
            if (value := getattr(self, option)) <= 0:
                raise ValueError(f"method.{option} is {value}; it must be above 0")
        if self.eta * self.lam > 1:
            raise ValueError(f"method.eta is {self.eta}; it must be at most 1 / lam, or w_k would be thrown past theta")
        if self.inner_steps < 1:
            raise ValueError(f"method.inner_steps is {self.inner_steps}; it must be at least 1")

    def receive(self, site: SiteState, message: Message) -> None:
        if site.trained:
            site.memory["theta"], site.memory["theta's buffers"] = site.pack(), site.pack_buffers()
        super().receive(site, message)
        site.memory["local"] = message.model

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        local = site.memory.tensor("local")
        for k in range(self.inner_steps):
            for player, loss in super().step(site, batch):
                if player == "generator":
                    yield player, loss + self.lam * site.distance(player, local)
                elif k == 0:
                    yield player, loss
        local.lerp_(site.pack(), self.eta * self.lam)

    def upload(self, site: SiteState) -> Message:
        return Message(super().upload(site), model=site.memory.tensor("local"))

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        before = server.model
        super().aggregate(server, uploads)
        server.model = before.lerp(server.model, self.beta)

    def personalise(self, site: SiteState) -> None:
        if "theta" in site.memory:
            site.load(site.memory.tensor("theta"), site.memory.tensor("theta's buffers"))
