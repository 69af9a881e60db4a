"""The contract of a federated method. Its defaults are FedAvg.

A method is a dataclass in a file of its own; its fields are its options. It keeps nothing on itself: what has to outlive a step
lies in `site.memory` and `server.memory`, where it is saved and resumed; a run ends with an error if its attributes change.
Hooks other than `step` run with the nets in `eval()` and with a noise stream of their own.
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
from .step import Pairs, together

Nets = Any  # a ModuleDict, or a mapping of names to callables


@dataclass(frozen=True)
class Blueprint:
    """What a method makes its nets of.

    Each net's initial weights come from a stream named after it, so that they are the same at every site and under every
    method of a seed. What a method draws for nets of its own, in `build`, comes from a stream of its own.

    Args:
        network: The configured network.
        columns: The columns of the code.
        tasks: All tasks of the federation.
        seed: Of the run.
        variant: Which draw of the weights this is; 0 is the one from which all sites start.

    Example:
        >>> from fedsynth import NETWORKS, Task
        >>> network = NETWORKS["resnet"](width=2, blocks=1, discriminator_width=2, discriminator_layers=1)
        >>> blueprint = Blueprint(network, Columns(sites=2, contrasts=2), (Task("T1", "T2"),), seed=0)
        >>> nets = Method().build(blueprint)
        >>> sorted(nets), list(nets["discriminators"])
        (['discriminators', 'generator'], ['T1->T2'])
    """

    network: Network
    columns: Columns
    tasks: tuple[Task, ...]
    seed: int
    variant: int = 0

    def generator(self) -> nn.Module:
        """A new generator of the network."""
        with self.weights("generator"):
            return self.network.generator(self.columns)

    def discriminators(self, judge: Callable[[Task], str] = str) -> nn.ModuleDict:
        """New discriminators, one for each name that `judge` gives to a task; by default one a task, named after it."""
        made = {}
        for name in dict.fromkeys(map(judge, self.tasks)):
            with self.weights("discriminator", name):
                made[name] = self.network.discriminator(self.columns.channels)
        return nn.ModuleDict(made)

    @contextmanager
    def weights(self, *names: str) -> Iterator[None]:
        """Inside, torch's default random generator is a stream of this name; afterwards it is as it was before."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(streams.key(self.seed, "weights", self.variant, *names))
            yield


@dataclass
class Method:
    """A federated method: a subclass overrides the hooks in which it differs from FedAvg.

    Args:
        adversarial: The weight of the LSGAN terms; with 0 no discriminator trains.
        l1: The weight of the L1 term.

    Attributes:
        published: The name of the network that the method was published with; "none" where its paper has no generator for
            synthesis or reconstruction, as papers with classifiers have not.
        needs_norm: The only normalisation that the method works with, which its published network has; None for any.
        second: Whether batches have `second`, another draw of the same task, for unpaired losses.
        partial: Whether the method shares a part of the generator: then all of it or none of it is an error on any network.
        equal_weights: Whether all sites weigh the same in the server's mean; if not, a site weighs as its training slices.
        averages: Whether what the sites are sent is made of `server.mean`; if not, a robust server rule would do nothing.
        weighs: Whether the method differs from FedAvg by the sites' weights alone, which most robust server rules ignore.
        needs_common_start: Whether the method makes no sense where sites start from weights of their own.

    Example:
        >>> @dataclass
        ... class Prox(Method):
        ...     mu: float = 0.1  # weight of the squared distance from the server's model
        ...
        ...     def step(self, site, batch):
        ...         for player, loss in super().step(site, batch):
        ...             yield player, loss + self.mu * site.distance(player, site.received)
        >>> Prox(mu=0.5)
        Prox(adversarial=1.0, l1=100.0, mu=0.5)
    """

    published: ClassVar[str] = "none"
    needs_norm: ClassVar[Norm | None] = None
    second: ClassVar[bool] = False
    partial: ClassVar[bool] = False
    equal_weights: ClassVar[bool] = False
    averages: ClassVar[bool] = True
    weighs: ClassVar[bool] = False
    needs_common_start: ClassVar[bool] = False
    adversarial: float = 1.0  # weight of the LSGAN terms
    l1: float = 100.0  # weight of the L1 term, as pix2pix (Isola et al. 2017) and pFLSynth

    @classmethod
    def default_network(cls) -> str:
        """The network of a run that names none: the published one, or else the residual network, which pFLSynth's released code
        gives to FedGAN and FedBN."""
        return "resnet" if cls.published == "none" else cls.published

    # --- what trains -------------------------------------------------------------------------------------------------

    def federate(self, names: Sequence[str]) -> list[list[str]]:
        """The groups of sites that train as one; every site is in exactly one group."""
        return [[name] for name in names]

    def build(self, blueprint: Blueprint) -> nn.ModuleDict:
        """The nets of a site with every task, made once and copied to all sites. A nested ModuleDict is a set of nets."""
        return nn.ModuleDict(
            {"generator": blueprint.generator(), "discriminators": blueprint.discriminators(self.judge)}
        )

    def judge(self, task: Task) -> str:
        """The name of the discriminator of a task; by default every task has its own."""
        return str(task)

    def players(self, nets: nn.ModuleDict) -> dict[str, Any]:
        """Name -> the parameters that one optimiser moves, a list or torch's parameter groups; by default, one player a net."""
        named = {name: [p for p in net.parameters() if p.requires_grad] for name, net in leaves(nets)}
        return {name: parameters for name, parameters in named.items() if parameters}

    # --- the local objective -----------------------------------------------------------------------------------------

    def objective(self, nets: Nets, batch: Batch) -> Pairs:
        """Yields each player's name and loss for any set of nets: LSGAN for the discriminator, LSGAN + L1 for the generator."""
        fake = nets["generator"](batch.source, batch.code)
        if not self.adversarial:
            yield "generator", self.l1 * l1(fake, batch.target)
            return
        name = self.judge(batch.task)
        judge = nets["discriminators"][name]
        real, made = together(judge, (batch.source, batch.target), (batch.source, fake.detach()))
        yield f"discriminators.{name}", self.adversarial * (lsgan(real, True) + lsgan(made, False)) / 2
        fooled = lsgan(judge(batch.source, fake), True)
        yield "generator", self.adversarial * fooled + self.l1 * l1(fake, batch.target)

    def phase(self, site: SiteState, k: int) -> str:
        """Which variant of the step the local step k (from 0) of this round is. A step may depend on the time in no other way."""
        return ""

    def step(self, site: SiteState, batch: Batch) -> Pairs:
        """One local step, which yields pairs of a player and its loss. It depends on site.nets, site.memory, site.phase and the
        batch alone.

        After each yield the engine sets the player's gradients to None, runs the backward pass for its parameters alone, clips
        the gradients and moves the player. So compute a loss after the previous yield, and reuse only tensors of players that
        have not moved since. `yield (a, b), loss` moves two players by one loss.

        Raises:
            ContractError: (from the engine) No player but a discriminator moved in all local steps of a round; it is no
                generator of pairs; a loss is not a scalar with a gradient by the player, or what it needs was changed in place;
                the player does not exist; or a context such as no_grad is open at a yield.
        """
        yield from self.objective(site.nets, batch)

    # --- the exchange ------------------------------------------------------------------------------------------------

    def travels(self, place: Place) -> bool:
        """Whether this parameter or buffer is shared; asked once for each that holds floating-point numbers."""
        return place.net == "generator"

    def upload(self, site: SiteState) -> Message:
        """What a site sends after its training; called only if it will arrive. What a site learns for itself is not for here."""
        return Message(model=site.pack(), buffers=site.pack_buffers(), weight=1 if self.equal_weights else site.samples)

    def aggregate(self, server: Server, uploads: Mapping[str, Message]) -> None:
        """What the server makes of the `uploads`, by site name, sorted: it sets `server.model` and `server.buffers`."""
        server.model = server.mean(uploads, "model")
        server.buffers = server.mean(uploads, "buffers")

    def download(self, server: Server, name: str) -> Message:
        """What a site is sent in any round, also in the first; it may not change the server."""
        return Message(model=server.model, buffers=server.buffers)

    def welcome(self, server: Server, name: str) -> Message:
        """What a newcomer is sent, which never trained. What does not travel, it has from the common start."""
        return self.download(server, name)

    def adapt(self, site: SiteState) -> None:
        """What a newcomer does with what it received, before it serves: by default the local steps of a round, `site.steps`."""
        for _ in site.train({}):
            pass

    def receive(self, site: SiteState, message: Message) -> None:
        """What a site does with a message; it may look at local data with `site.draw` and work on them."""
        site.load(message.model, message.buffers)

    # --- what is served ----------------------------------------------------------------------------------------------

    def personalise(self, site: SiteState) -> None:
        """What a site does before it serves. Afterwards its nets and its memory are put back.

        A newcomer has a budget of local steps, 0 when it is welcomed, which `site.fit` and `site.spend` keep.
        """

    def synthesise(self, site: SiteState, batch: Batch) -> Tensor:
        """The site's answer to a batch, `[B, 1, H, W]` in [-1, 1]."""
        image: Tensor = site.nets["generator"](batch.source, batch.code)
        return image
