"""What an oracle works with. An oracle says once more, from the paper, what a method does, and so holds the method to it.

It is a function with the method's name, `def fedprox(world, mu=1.0) -> Ending`, whose keywords are options of the method with
their defaults. It imports nothing of the engine and nothing of the methods. `world` has the nets that sites start from
and, of each round, who takes part and the batches of their local steps. The oracle trains by losses in plain torch and by the
optimisers below, and returns what all end with:

    def fedprox(world, mu=1.0):
        sites, shared = world.sites(), world.shared(generator)  # with their nets; the paths of what travels
        server = world.initial(shared)                          # the values under these paths, in one flat vector
        for round in world.rounds:
            sent = {}
            for site in round.present(sites):
                site.write(shared, server)                      # what a site starts from
                anchor = site.flat("generator").detach()
                for batch in site.batches:                      # what it trains by
                    gan_step(site, batch, lambda: mu / 2 * (site.flat("generator") - anchor).square().sum())
                sent[site.name] = site.read(shared)             # what it sends
            server = mean(sent, world.samples, server)          # what the server makes of it
        return world.ending(sites, shared, server)              # the generator serves, with what the server would send next

`loop` is these lines with what may differ as arguments. `ending` takes a function from a site to what answers for it,
where that is another generator. Batches that a site draws besides, such as those on which FedALA learns its weights, lie in
`site.drawn` by purpose (`world.draws` has all), and what a step draws at random in `site.noise`.

`recorded.record` makes a world, and the ending of the trainer's own run; `Ending.difference` names the first tensor in which two
endings differ. Both run in float64, where rounding flips no kink of ReLU or L1: so none has to be smoothed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

Batch = Any  # has source, target, code, task, images, present and second
Rule = Callable[[str, nn.Module], bool]  # of a tensor's path and of the module that owns it
Answer = Callable[[Batch], Tensor]  # the image that is served


@dataclass
class Round:
    """A round: its number from 1, its learning rate, the batches of the local steps of each site that takes part, and what these
    steps drew at random."""

    number: int
    lr: float
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    noise: dict[str, list[Tensor]] = field(default_factory=dict)

    def present(self, sites: Mapping[str, Site]) -> Iterator[Site]:
        """The sites that take part, each with its batches and at this round's learning rate."""
        for name, batches in self.batches.items():
            sites[name].enter(self)
            sites[name].batches, sites[name].noise = batches, list(self.noise.get(name, ()))
            yield sites[name]


@dataclass
class World:
    """What a run has; an oracle may go through it once, because it trains the nets in `start`, those of each site. `common`: the
    nets of a site with every task; `samples`: each site's training slices; `steps`: the local steps of its full round; `epoch`:
    the batches that its slices fill. `fresh` draws other nets. `betas` are Adam's, and None under SGD. `questions` are what each
    site is asked after the last round."""

    start: dict[str, nn.ModuleDict]
    common: nn.ModuleDict
    samples: dict[str, int]
    steps: dict[str, int]
    epoch: dict[str, int]
    fresh: Callable[[int], Mapping[str, Tensor]]
    lr: float
    betas: tuple[float, float] | None
    planned: int  # rounds of the run, of which an oracle sees the first ones
    questions: dict[str, list[Batch]]
    slices: dict[str, list[Batch]]  # each site's training slices, all in one batch for each of its tasks
    rounds: list[Round] = field(default_factory=list)
    draws: dict[tuple[int, str, str], list[Batch]] = field(default_factory=dict)

    def sites(self) -> dict[str, Site]:
        """Each site as it is before the first round. They train the nets of `start` themselves."""
        return {name: Site(name, nets, self) for name, nets in self.start.items()}

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and then buffers that all sites start from, by path."""
        return _tensors(self.common)

    def shared(self, rule: Rule) -> list[str]:
        """The paths of the tensors of floating type, parameters first, that fulfil a rule."""
        owned = {path: tensor for path, tensor in self.tensors.items() if tensor.is_floating_point()}
        return [path for path in owned if rule(path, self.common.get_submodule(path.rpartition(".")[0]))]

    def initial(self, paths: Iterable[str], variant: int = 0) -> Tensor:
        """The values under these paths that all sites start from, or those of another draw, in one flat vector."""
        values = self.fresh(variant) if variant else self.tensors
        return torch.cat([torch.zeros(0), *(values[path].detach().flatten() for path in paths)])

    def weights(self, paths: Iterable[str]) -> Tensor:
        """Which numbers under these paths are parameters: True there, False in buffers."""
        owned = dict(self.common.named_parameters())
        parts = [torch.full((self.tensors[path].numel(),), path in owned) for path in paths]
        return torch.cat([torch.zeros(0, dtype=torch.bool), *parts])

    def split(self, paths: Sequence[str], vector: Tensor) -> dict[str, Tensor]:
        """A flat vector as tensors by path."""
        shapes = [self.tensors[path].shape for path in paths]
        parts = vector.split([shape.numel() for shape in shapes]) if paths else ()
        return {path: part.view(shape) for path, shape, part in zip(paths, shapes, parts, strict=True)}

    def ending(
        self,
        sites: Mapping[str, Site],
        shared: Sequence[str],
        server: Tensor,
        serve: Callable[[Site], Answer] | None = None,
    ) -> Ending:
        """What all end with. `serve` may change the site that it is given; by default the generator serves, with what the server
        holds."""

        def plain(site: Site) -> Answer:
            site.write(shared, server)
            return site.answer

        nets = {name: site.copied() for name, site in sites.items()}
        served: dict[str, dict[str, Tensor]] = {}
        for name, site in sites.items():
            site.enter(self.rounds[-1])
            site.movers.clear()
            answer = (serve or plain)(site)
            site.nets.eval()
            served[name] = {f"slice {k}": answer(asked).detach() for k, asked in enumerate(self.questions[name])}
        return Ending(nets, self.split(shared, server), served)


@dataclass
class Ending:
    """What a run ends with: the tensors of each site by path, those of the server, and the images that each site serves."""

    nets: Mapping[str, Mapping[str, Tensor]]
    server: Mapping[str, Tensor]
    served: Mapping[str, Mapping[str, Tensor]]

    def difference(self, other: Ending, most: float) -> str:
        """The first tensor in which two endings differ by more than `most`, and by how much; "" if there is none."""
        mine, theirs = self.named(), other.named()
        if lacking := sorted(mine.keys() ^ theirs.keys()):
            return f"only one of them has {lacking[0]}"
        for name, tensor in mine.items():
            gap = float((tensor.double() - theirs[name].double()).abs().max()) if tensor.numel() else 0.0
            if not gap <= most:
                return f"{name} differs by {gap:.1e}"
        return ""

    def named(self) -> dict[str, Tensor]:
        """All tensors by names that tell what they are."""
        named = {f"site {name}: {path}": t for name, tensors in self.nets.items() for path, t in tensors.items()}
        named |= {f"server: {path}": tensor for path, tensor in self.server.items()}
        return named | {f"site {name} serves {k}": t for name, images in self.served.items() for k, t in images.items()}


# --- a site ----------------------------------------------------------------------------------------------------------


class Site:
    """A site's nets, an optimiser for each of its players, and in `own` whatever a method lets it remember."""

    def __init__(self, name: str, nets: nn.ModuleDict, world: World) -> None:
        self.name, self.nets, self.samples, self.world = name, nets.train(), world.samples[name], world
        self.tensors = _tensors(nets)
        self.batches: list[Batch] = []
        self.noise: list[Tensor] = []
        self.own: dict[str, Any] = {}
        self.movers: dict[str, Mover] = {}
        self.round, self.lr = 0, world.lr

    def enter(self, round: Round) -> None:
        self.round, self.lr = round.number, round.lr

    def drawn(self, purpose: str) -> list[Batch]:
        """The batches that were drawn for a purpose in this round."""
        return self.world.draws[self.round, self.name, purpose]

    def copied(self) -> dict[str, Tensor]:
        """Copies of all parameters and buffers by path."""
        return {path: tensor.detach().clone() for path, tensor in self.tensors.items()}

    def read(self, paths: Sequence[str], root: str = "") -> Tensor:
        """The values under these paths in one flat vector, NaN where the site lacks a net; `root` is put before every path."""
        held, sizes = self.tensors, self.world.tensors
        parts = [
            held[root + path] if root + path in held else torch.full_like(sizes[path], torch.nan) for path in paths
        ]
        return torch.cat([torch.zeros(0), *(part.detach().flatten() for part in parts)])

    def write(self, paths: Sequence[str], vector: Tensor, root: str = "") -> None:
        """Put such a vector into the nets."""
        with torch.no_grad():
            for path, part in self.world.split(paths, vector).items():
                if root + path in self.tensors:
                    self.tensors[root + path].copy_(part)

    def flat(self, player: str) -> Tensor:
        """All parameters of a net in one vector that has a gradient."""
        return torch.cat([parameter.flatten() for parameter in self.nets.get_submodule(player).parameters()])

    def slope(self, loss: Tensor, player: str) -> Tensor:
        """The gradient of a loss by all parameters of a net, as such a vector."""
        parameters = list(self.nets.get_submodule(player).parameters())
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, slopes, strict=True)
        return torch.cat([(torch.zeros_like(p) if slope is None else slope).flatten() for p, slope in pairs])

    def move(self, player: str, loss: Tensor, parameters: Iterable[nn.Parameter] | None = None) -> None:
        """Let a player's optimiser move it by its loss. Its parameters are those of the net of its name if none are given."""
        owned = self.nets.get_submodule(player).parameters() if parameters is None else parameters
        if player not in self.movers:
            self.movers[player] = Mover(list(owned), self.world.betas)
        self.movers[player].move(loss, self.lr)

    def answer(self, asked: Batch) -> Tensor:
        """The image that the site's generator makes."""
        return image_of(self.nets, asked)


class Mover:
    """SGD, or Adam with these betas (Kingma and Ba 2015). A parameter that a loss does not reach stays, and so do its moments."""

    def __init__(self, parameters: Sequence[nn.Parameter], betas: tuple[float, float] | None) -> None:
        self.parameters, self.betas = [p for p in parameters if p.requires_grad], betas
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.times = [0] * len(self.parameters)

    def move(self, loss: Tensor, lr: float) -> None:
        slopes = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        with torch.no_grad():
            for k, (parameter, slope) in enumerate(zip(self.parameters, slopes, strict=True)):
                if slope is None:
                    continue
                if self.betas is None:
                    parameter -= lr * slope
                    continue
                one, two = self.betas
                self.times[k] += 1
                self.first[k] = one * self.first[k] + (1 - one) * slope
                self.second[k] = two * self.second[k] + (1 - two) * slope**2
                m, v = self.first[k] / (1 - one ** self.times[k]), self.second[k] / (1 - two ** self.times[k])
                parameter -= lr * m / (v.sqrt() + 1e-8)


# --- what many methods do --------------------------------------------------------------------------------------------


def image_of(nets: Mapping[str, Any], batch: Batch) -> Tensor:
    """The image that the generator of a set of nets makes."""
    image: Tensor = nets["generator"](batch.source, batch.code)
    return image


def squares(scores: Tensor, wanted: float) -> Tensor:
    """LSGAN's mean squared distance."""
    return ((scores - wanted) ** 2).mean()


def distance(image: Tensor, other: Tensor) -> Tensor:
    """L1's mean absolute difference."""
    return (image - other).abs().mean()


def judge_loss(judge: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    """pix2pix' discriminator: half of the squared errors on the true image and on the synthetic one."""
    made = fake.detach()
    return (squares(judge(batch.source, batch.target), 1) + squares(judge(batch.source, made), 0)) / 2


def generator_loss(judge: nn.Module, batch: Batch, fake: Tensor) -> Tensor:
    """pix2pix' generator: LSGAN + 100 L1."""
    return squares(judge(batch.source, fake), 1) + 100 * distance(fake, batch.target)


def gan_step(site: Site, batch: Batch, extra: Callable[[], Tensor] | None = None, root: str = "") -> None:
    """A local step of pix2pix: the task's discriminator moves, then the generator, whose loss may have `extra` added."""
    nets: Any = site.nets.get_submodule(root.rstrip(".")) if root else site.nets
    fake, judge = image_of(nets, batch), nets["discriminators"][str(batch.task)]
    site.move(f"{root}discriminators.{batch.task}", judge_loss(judge, batch, fake))
    loss = generator_loss(judge, batch, fake)
    site.move(f"{root}generator", loss + extra() if extra else loss)


def gan_steps(site: Site, server: Tensor) -> None:
    """The local steps of a round, as FedAvg's."""
    for batch in site.batches:
        gan_step(site, batch)


def mean(sent: Mapping[str, Tensor], shares: Mapping[str, float], otherwise: Tensor) -> Tensor:
    """The weighted mean of vectors, each number over the sites that have it; where none has it, what it was before."""
    rows = torch.stack([*sent.values()])
    weights = torch.tensor([float(shares[name]) for name in sent])[:, None] * ~rows.isnan()
    return torch.where(weights.sum(0) > 0, (weights * rows.nan_to_num()).sum(0) / weights.sum(0), otherwise)


def loop(
    world: World,
    rule: Rule,
    train: Callable[[Site, Tensor], None] = gan_steps,
    merge: Callable[[Tensor, Mapping[str, Tensor]], Tensor] | None = None,
    serve: Callable[[Site], Answer] | None = None,
) -> Ending:
    """FedAvg's rounds. `rule`: what travels. `train`: what a site does once it has what the server sent. `merge`: what the server
    makes of what it has and of what the sites send; by default their mean, weighted by training slices."""
    sites, shared = world.sites(), world.shared(rule)
    server = world.initial(shared)
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            site.write(shared, server)
            train(site, server)
            sent[site.name] = site.read(shared)
        server = merge(server, sent) if merge else mean(sent, world.samples, server)
    return world.ending(sites, shared, server, serve)


def generator(path: str, owner: nn.Module) -> bool:
    """The rule that the whole generator travels."""
    return path.startswith("generator.")


def _tensors(nets: nn.Module) -> dict[str, Tensor]:
    return dict(nets.named_parameters()) | dict(nets.named_buffers())
