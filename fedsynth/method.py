"""The contract of a federated method. Its defaults are FedAvg.

A method is a dataclass in a file of its own; its fields are its options. It keeps nothing on itself: what outlives a step
lives in `site.memory` and `server.memory`, where it is saved, resumed and counted. Hooks other than `step` run with the nets
in `eval()` and with a noise stream of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from . import streams
from .exchange import Message, Place, leaves
from .federation import Columns, Task
from .feed import Batch
from .losses import l1, lsgan
from .networks.network import Network, Norm
from .server import Server
from .site import SiteState
from .step import Pairs

Nets = Any  # a ModuleDict, or a mapping of names to callables


@dataclass(frozen=True)
class Blueprint:
    """What nets are made of: the configured network, the columns of the code, the tasks, and the seed of the weights.

    Each net's initial weights come from a stream named after it, so that they are the same at every site and under every
    method of a seed. What a method draws for nets of its own, in `build`, comes from a stream of its own.
    """

    network: Network
    columns: Columns
    tasks: tuple[Task, ...]
    seed: int
    variant: int = 0

    def generator(self) -> nn.Module:
        with self.weights("generator"):
            return self.network.generator(self.columns)

    def discriminators(self, judge: Callable[[Task], str] = str) -> nn.ModuleDict:
        """The discriminators that `judge` names for the tasks; one a task, named after it, by default."""
        made = {}
        for name in dict.fromkeys(map(judge, self.tasks)):
            with self.weights("discriminator", name):
                made[name] = self.network.discriminator(self.columns.channels)
        return nn.ModuleDict(made)

    @contextmanager
    def weights(self, *names: str) -> Iterator[None]:
        """Inside, torch's default generator is a stream of this name; afterwards it is as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(streams.key(self.seed, "weights", self.variant, *names))
            yield


@dataclass
class Method:
    """A federated method: override the hooks in which it differs from FedAvg."""

    published: ClassVar[str] = "resnet"  # the network that the method was published with
    needs_norm: ClassVar[Norm | None] = None  # the only normalisation that it works with; its published network has it
    second: ClassVar[bool] = False  # wants `batch.second`, another draw of the same task, for unpaired losses
    partial: ClassVar[bool] = False  # shares a part of the generator: all or none of it is an error on any network
    adversarial: float = 1.0  # weight of the LSGAN terms
    l1: float = 100.0  # weight of the L1 term, as pix2pix (Isola et al. 2017) and pFLSynth

    # --- what trains -------------------------------------------------------------------------------------------------

    def federate(self, names: Sequence[str]) -> list[list[str]]:
        """Groups of sites that train as one."""
        return [[name] for name in names]

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        """The nets of a site, made once and copied to all. A nested ModuleDict is a set of nets."""
        return nn.ModuleDict(
            {"generator": blueprint.generator(), "discriminators": blueprint.discriminators(self.judge)}
        )

    def judge(self, task: Task) -> str:
        """The name of the discriminator of a task; every task has its own by default."""
        return str(task)

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        """Name -> the parameters (a list, or torch's parameter groups) that one optimiser moves; one a net by default."""
        named = {name: [p for p in net.parameters() if p.requires_grad] for name, net in leaves(nets)}
        return {name: parameters for name, parameters in named.items() if parameters}

    # --- the local objective -----------------------------------------------------------------------------------------

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        """The task's losses for any set of nets: LSGAN for the discriminator, LSGAN + L1 for the generator."""
        fake = nets["generator"](batch.source, batch.code)
        if not self.adversarial:
            yield "generator", self.l1 * l1(fake, batch.target)
            return
        name = self.judge(batch.task)
        judge = nets["discriminators"][name]
        real = lsgan(judge(batch.source, batch.target), True)
        made = lsgan(judge(batch.source, fake.detach()), False)
        yield f"discriminators.{name}", self.adversarial * (real + made) / 2
        fooled = lsgan(judge(batch.source, fake), True)
        yield "generator", self.adversarial * fooled + self.l1 * l1(fake, batch.target)

    def phase(self, site: SiteState, k: int) -> str:
        """Which variant of the step local step k (from 0) of this round is: the only way a step may depend on the clock."""
        return ""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        """One local step: yields (player, loss). A pure function of site.nets, site.memory, site.phase and the batch.

        After each yield the trainer sets the player's gradients to None, runs the backward pass for its parameters alone,
        clips, and moves it. So compute a loss after the previous yield, and reuse only tensors of players that did not
        move since. `yield (a, b), loss` moves two players by one loss.
        """
        yield from self.objective(site.nets, batch)

    # --- the exchange ------------------------------------------------------------------------------------------------

    def travels(self, place: Place) -> bool:
        """Whether this parameter or buffer is shared; asked of every floating one."""
        return place.net == "generator"

    def upload(self, site: SiteState) -> Message:
        """What a site sends after training; called only if it will be delivered."""
        return Message(model=site.pack(), buffers=site.pack_buffers(), weight=site.samples)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        """The server's rule. `uploads` by site name, sorted."""
        server.model = server.mean(uploads, "model")
        server.buffers = server.mean(uploads, "buffers")

    def download(self, server: Server, name: str) -> Message:
        """What a site is sent, in any round, the first included; may not change the server."""
        return Message(model=server.model, buffers=server.buffers)

    def welcome(self, server: Server, name: str) -> Message:
        """What a newcomer is sent that never trained. All that does not travel it has from the common start."""
        return self.download(server, name)

    def receive(self, site: SiteState, message: Message) -> None:
        """What a site does with it; may look at local data with `site.draw` and work on it."""
        site.load(message.model, message.buffers)

    # --- what is served ----------------------------------------------------------------------------------------------

    def personalise(self, site: SiteState) -> None:
        """Adaptation before serving, on a copy that is put back afterwards."""

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        """The site's answer, `[B, 1, H, W]` in [-1, 1]."""
        image: Tensor = site.nets["generator"](batch.source, batch.code)
        return image
