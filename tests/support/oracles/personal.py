"""Methods with a personal model beside the federated one, or with a model that is personal by where it came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .world import (
    Answer,
    Batch,
    Ending,
    Site,
    World,
    gan_step,
    generator,
    generator_loss,
    image_of,
    judge_loss,
    loop,
    mean,
)


def ditto(world: World, lam: float = 100.0) -> Ending:
    """Li et al. 2021: on every batch a site trains a personal generator, which it pulls towards the received one, and then the
    federated one. It serves the personal one."""

    def train(site: Site, server: Tensor) -> None:
        received = site.flat("generator").detach()

        def pull() -> Tensor:
            return lam / 2 * (site.flat("personal.generator") - received).square().sum()

        for batch in site.batches:
            gan_step(site, batch, pull, "personal.")
            gan_step(site, batch)

    def serve(site: Site) -> Answer:
        return lambda asked: image_of(site.nets.get_submodule("personal"), asked)

    return loop(world, generator, train, serve=serve)


def apfl(world: World, alpha: float = 0.5, adaptive: bool = False) -> Ending:
    """Deng et al. 2020: v learns by the loss of alpha v + (1 - alpha) w, which is served, and w as in FedAvg. An alpha that
    adapts moves along with v, by the same loss, and is kept in [0, 1]."""
    shared, last = world.shared(generator), []

    def mixed(site: Site, batch: Batch) -> Tensor:
        personal, [share] = site.nets.get_submodule("personal.generator"), site.nets["alpha"].parameters()
        pairs = zip(personal.named_parameters(), site.nets["generator"].parameters(), strict=True)
        both = {name: share * v + (1 - share) * w.detach() for (name, v), w in pairs}
        image: Tensor = functional_call(personal, both, (batch.source, batch.code))
        return image

    def train(site: Site, server: Tensor) -> None:
        [share] = site.nets["alpha"].parameters()
        assert site.round > 1 or float(share.detach()) == alpha
        moving = [*site.nets.get_submodule("personal.generator").parameters(), *([share] if adaptive else [])]
        for batch in site.batches:
            fake, player = mixed(site, batch), f"personal.discriminators.{batch.task}"
            judge = site.nets.get_submodule(player)
            site.move(player, judge_loss(judge, batch, fake))
            site.move("personal.generator", generator_loss(judge, batch, fake), moving)
            with torch.no_grad():
                share.copy_(share.clip(0, 1))
            gan_step(site, batch)

    def serve(site: Site) -> Answer:
        site.write(shared, last[0])
        return lambda asked: mixed(site, asked)

    return loop(world, generator, train, remembering(world, last), serve)


def pfedme(world: World, lam: float = 1500.0, inner_steps: int = 5, eta: float = 5e-5, beta: float = 1.0) -> Ending:
    """Dinh et al. 2020, algorithm 1: K steps of theta on L + lam/2 |theta - w_k|^2, then w_k <- w_k - eta lam (w_k - theta). The
    site serves theta. The mean is weighted by samples, as in the released code; a batch's discriminator moves once."""
    sites, shared = world.sites(), world.shared(generator)
    weights, server = world.weights(shared), world.initial(shared)
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            site.write(shared, server)
            w = site.flat("generator").detach()
            for batch in site.batches:
                judge = site.nets.get_submodule(f"discriminators.{batch.task}")
                for k in range(inner_steps):
                    fake = image_of(site.nets, batch)
                    loss = judge_loss(judge, batch, fake)
                    if k == 0:
                        site.move(f"discriminators.{batch.task}", loss)
                    pull = lam / 2 * (site.flat("generator") - w).square().sum()
                    site.move("generator", generator_loss(judge, batch, fake) + pull)
                w = w - eta * lam * (w - site.flat("generator").detach())
            site.own["theta"] = site.read(shared)
            sent[site.name] = site.own["theta"].masked_scatter(weights, w)
        averaged = mean(sent, world.samples, server)
        server = torch.where(weights, (1 - beta) * server + beta * averaged, averaged)

    def serve(site: Site) -> Answer:
        site.write(shared, site.own["theta"])
        return site.answer

    return world.ending(sites, shared, server, serve)


def perfedavg(world: World, variant: str = "fo", alpha: float = 1e-4, delta: float = 1e-5) -> Ending:
    """Fallah et al. 2020: w moves by the gradient that it would have a step ahead, on two batches (fo); or that gradient is also
    multiplied by I - alpha H, with H in a difference of gradients on a third batch (hf). The rest of a round is FedAvg's. A site
    serves after a step. The server takes the plain mean."""
    shared, last = world.shared(generator), []
    width = {"fo": 2, "hf": 3}[variant]

    def ahead(site: Site, way: Tensor, batch: Batch) -> Tensor:
        net, start = site.nets["generator"], 0
        moved = {}
        for name, parameter in net.named_parameters():
            moved[name] = parameter + way[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()
        image: Tensor = functional_call(net, moved, (batch.source, batch.code))
        return image

    def gradient(site: Site, batch: Batch, way: Tensor, moves: bool) -> Tensor:
        """Of the generator's loss at w + way; the discriminator may move by the image there."""
        fake, judge = ahead(site, way, batch), site.nets.get_submodule(f"discriminators.{batch.task}")
        if moves:
            site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
        return site.slope(generator_loss(judge, batch, fake), "generator")

    def train(site: Site, server: Tensor) -> None:
        still = torch.zeros_like(site.flat("generator"))
        whole = len(site.batches) // width * width
        for k in range(0, whole, width):
            look, apply, *third = site.batches[k : k + width]
            v = gradient(site, apply, -alpha * gradient(site, look, still, moves=True), moves=True)
            for batch in third:
                judge = site.nets.get_submodule(f"discriminators.{batch.task}")
                fake = image_of(site.nets, batch)
                site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
                judge(batch.source, fake)  # the step's own look, by which batch norm counts
                site.nets.eval()
                ends = [gradient(site, batch, way * v, moves=False) for way in (delta, -delta)]
                site.nets.train()
                v = v - alpha * (ends[0] - ends[1]) / (2 * delta)
            site.move("generator", v @ site.flat("generator"))
        for batch in site.batches[whole:]:
            gan_step(site, batch)

    def serve(site: Site) -> Answer:
        site.write(shared, last[0])
        [batch] = site.drawn("adapt")
        way = -alpha * gradient(site, batch, torch.zeros_like(site.flat("generator")), moves=False)
        nn.utils.vector_to_parameters(site.flat("generator").detach() + way, site.nets["generator"].parameters())
        return site.answer

    return loop(world, generator, train, remembering(world, last, alike=True), serve)


def remembering(world: World, last: list[Tensor], alike: bool = False) -> Any:
    """The server's mean, which is put into `last` too."""

    def merge(server: Tensor, sent: dict[str, Tensor]) -> Tensor:
        last[:] = [mean(sent, dict.fromkeys(sent, 1.0) if alike else world.samples, server)]
        return last[0]

    return merge
