"""Methods whose server takes a mean. They differ in what travels, and in what a site trains by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .world import (
    Answer,
    Batch,
    Ending,
    Rule,
    Site,
    World,
    gan_step,
    gan_steps,
    generator,
    generator_loss,
    image_of,
    judge_loss,
    loop,
    mean,
)

NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d)


def fedavg(world: World) -> Ending:
    """McMahan et al. 2017: the mean of the models, weighted by samples."""
    return loop(world, generator)


def fedprox(world: World, mu: float = 1.0) -> Ending:
    """Li et al. 2020: mu/2 |w - w_t|^2."""

    def train(site: Site, server: Tensor) -> None:
        received = site.flat("generator").detach()
        for batch in site.batches:
            gan_step(site, batch, lambda: mu / 2 * (site.flat("generator") - received).square().sum())

    return loop(world, generator, train)


def fedgan(world: World) -> Ending:
    """Rasouli et al. 2020: generators and discriminators; a task's discriminator over the sites that have it."""
    return loop(world, lambda path, _: path.startswith(("generator.", "discriminators.")))


# --- nothing travels -------------------------------------------------------------------------------------------------


def local(world: World) -> Ending:
    return loop(world, lambda *_: False)


def pooled(world: World) -> Ending:
    """All sites are one site of the world, whose batches are those of all."""
    assert [*world.start] == ["+".join(sorted("+".join(world.start).split("+")))]
    return loop(world, lambda *_: False)


# --- a part travels --------------------------------------------------------------------------------------------------


def alike(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
    """The plain mean."""
    return mean(sent, dict.fromkeys(sent, 1.0), server)


def fedmean(world: World) -> Ending:
    """Fiszer et al. 2026: the mean of the models, all alike."""
    return loop(world, generator, merge=alike)


def without_norms(path: str, owner: nn.Module) -> bool:
    """The rule that all of the generator but its normalisation travels."""
    return generator(path, owner) and not isinstance(owner, NORMS)


def fedbn(world: World) -> Ending:
    """Li et al. 2021, algorithm 1: all but normalisation, averaged with equal weights."""
    return loop(world, without_norms, merge=alike)


def silobn(world: World) -> Ending:
    """Andreux et al. 2020: all but running statistics."""
    return loop(world, lambda path, owner: generator(path, owner) and ".running_" not in path)


def fedbn_released(world: World, norms_of: str = "ixi") -> Ending:
    """pFLSynth's released code: FedBN's mean of all the rest, and one site's normalisation for everybody."""
    shared = world.shared(generator)
    norms = [path for path in shared if isinstance(world.common.get_submodule(path.rpartition(".")[0]), NORMS)]

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        parts = world.split(shared, alike(server, sent))
        if norms_of in sent:
            theirs = world.split(shared, sent[norms_of])
            parts |= {path: theirs[path] for path in norms}
        return torch.cat([part.flatten() for part in parts.values()])

    return loop(world, generator, merge=merge)


def stage(path: str) -> int:
    """The number of a stage of the network, from 0 at the input; -1 elsewhere."""
    return int(path.split(".")[2]) if path.startswith("generator.backbone.") else -1


def lgfedavg(world: World, share: float = 0.6) -> Ending:
    """Liang et al. 2020: the last layers travel, the first stay."""
    count = len(world.common.get_submodule("generator.backbone"))
    return loop(world, lambda path, _: stage(path) >= count - round(share * count))


def fedper(world: World, head_stages: int = 1) -> Ending:
    """Arivazhagan et al. 2019: the first layers travel, the last stay."""
    return loop(world, body_of(world, head_stages))


def body_of(world: World, head_stages: int) -> Rule:
    count = len(world.common.get_submodule("generator.backbone"))
    return lambda path, _: 0 <= stage(path) < count - head_stages


def fedrep(world: World, head_stages: int = 1, body_epochs: float = 1.0, body_share: float = 0.5) -> Ending:
    """Collins et al. 2021: a site trains its head, then the body for an epoch; here for half of a round at most."""
    body = body_of(world, head_stages)

    def train(site: Site, server: Tensor) -> None:
        steps = len(site.batches)
        last = max(1, min(ceil(body_epochs * world.epoch[site.name]), int(body_share * steps)))
        for k, batch in enumerate(site.batches):
            move_part(site, batch, body, k >= steps - last)

    return loop(world, body, train)


def move_part(site: Site, batch: Batch, body: Rule, is_body: bool) -> None:
    """A local step that moves the body of the generator, or its head."""
    fake, judge = image_of(site.nets, batch), site.nets.get_submodule(f"discriminators.{batch.task}")
    site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
    named = site.nets["generator"].named_parameters(prefix="generator")
    part = [parameter for path, parameter in named if body(path, judge) is is_body]
    site.move("body" if is_body else "head", generator_loss(judge, batch, fake), part)


def fedbabu(world: World, head_stages: int = 1, steps: int = 50) -> Ending:
    """Oh et al. 2022: the head keeps its start, the body trains and travels; both are fine-tuned to serve."""
    body = body_of(world, head_stages)

    def train(site: Site, server: Tensor) -> None:
        for batch in site.batches:
            move_part(site, batch, body, is_body=True)

    return tuned(world, body, steps, train)


def finetune(world: World, steps: int = 50) -> Ending:
    """Wang et al. 2019: FedAvg, and local steps before a site serves."""
    return tuned(world, generator, steps, gan_steps)


def tuned(world: World, rule: Rule, steps: int, train: Callable[[Site, Tensor], None]) -> Ending:
    """FedAvg's rounds; a site serves after local steps with fresh optimisers at the first rate, at most as many as a full round
    has, whatever it straggled."""
    shared, last = world.shared(rule), []

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        last[:] = [mean(sent, world.samples, server)]
        return last[0]

    def serve(site: Site) -> Answer:
        site.write(shared, last[0])
        site.lr, site.batches = world.lr, site.drawn("fit")
        assert len(site.batches) == min(steps, world.steps[site.name])
        gan_steps(site, last[0])
        return site.answer

    return loop(world, rule, train, merge, serve)


# --- features --------------------------------------------------------------------------------------------------------


def moon(world: World, mu: float = 100.0, tau: float = 0.5) -> Ending:
    """Li et al. 2021: features like the received model's, unlike those of the model that the site uploaded last."""
    sites, shared = world.sites(), world.shared(generator)
    server = world.initial(shared)
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            for root in ("", "global."):
                site.write(shared, server, root)
            for batch in site.batches:
                fake, z = seen(site.nets["generator"], batch)
                judge = site.nets.get_submodule(f"discriminators.{batch.task}")
                site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
                near, far = (
                    F.cosine_similarity(z, seen(site.nets.get_submodule(f"{root}.generator").eval(), batch)[1]) / tau
                    for root in ("global", "previous")
                )
                contrast = -torch.log(near.exp() / (near.exp() + far.exp())).mean()
                site.move("generator", generator_loss(judge, batch, fake) + mu * contrast)
            sent[site.name] = site.read(shared)
            site.write(shared, sent[site.name], "previous.")
        server = mean(sent, world.samples, server)
    return world.ending(sites, shared, server)


def seen(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """A residual network's image, and the pooled features after its last residual block."""
    maps: list[Tensor] = [batch.source]
    for layer in net.get_submodule("backbone").children():
        maps.append(layer(maps[-1]))
    return maps[-1], maps[-4].relu().mean((2, 3))
