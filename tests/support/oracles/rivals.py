"""The cost-weighted means of the tumour-segmentation challenges; FedExP, FedSAM and FedDecorr."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from .world import Answer, Ending, Site, World, gan_step, generator, generator_loss, image_of, judge_loss, loop, mean


def weighted_by_costs(
    world: World, weigh: Callable[[dict[str, float], dict[str, list[float]]], dict[str, float]]
) -> Ending:
    """`weigh` makes weights of the shares of slices and of the costs of each site until now, the newest last."""
    costs: dict[str, list[float]] = {}

    def train(site: Site, server: Tensor) -> None:
        for batch in site.batches:
            gan_step(site, batch)
        site.nets.eval()
        with torch.no_grad():
            losses = [float((image_of(site.nets, own) - own.target).abs().mean()) for own in world.slices[site.name]]
        site.nets.train()
        costs.setdefault(site.name, []).append(sum(losses) / len(losses))

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        total = sum(world.samples[name] for name in sent)
        sizes = {name: world.samples[name] / total for name in sent}
        known = {name: costs[name] for name in sent}
        first = all(len(own) == 1 for own in known.values())
        return mean(sent, sizes if first else weigh(sizes, known), server)

    return loop(world, generator, train, merge)


def fedcostwavg(world: World, alpha: float = 0.5) -> Ending:
    """Maechler et al. 2021: sizes, and old cost over new cost."""

    def weigh(sizes: dict[str, float], costs: dict[str, list[float]]) -> dict[str, float]:
        k = {name: own[-2] / own[-1] if len(own) > 1 else 1.0 for name, own in costs.items()}
        return {name: alpha * sizes[name] + (1 - alpha) * k[name] / sum(k.values()) for name in k}

    return weighted_by_costs(world, weigh)


def fedpidavg(world: World, alpha: float = 0.45, gamma: float = 0.1) -> Ending:
    """Maechler et al. 2022: sizes, old cost less new cost where it fell, and the sum of the last six costs."""

    def weigh(sizes: dict[str, float], costs: dict[str, list[float]]) -> dict[str, float]:
        d = {name: max(own[-2] - own[-1], 0.0) if len(own) > 1 else 0.0 for name, own in costs.items()}
        d = d if any(d.values()) else dict.fromkeys(d, 1.0)
        m = {name: sum(own[-6:]) for name, own in costs.items()}
        parts = ((alpha, sizes), (1 - alpha - gamma, d), (gamma, m))
        return {name: sum(share * part[name] / sum(part.values()) for share, part in parts) for name in sizes}

    return weighted_by_costs(world, weigh)


def fedexp(world: World, epsilon: float = 1e-3) -> Ending:
    """Jhunjhunwala et al. 2023: the mean change times eta; who took part last serves the mean of the last two models."""
    shared = world.shared(generator)
    weights, last = world.weights(shared), [world.initial(shared)] * 2

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        averaged, total = mean(sent, world.samples, server), sum(world.samples[name] for name in sent)
        change = (averaged - server)[weights]
        each = sum(world.samples[name] / total * ((sent[name] - server)[weights] ** 2).sum() for name in sent)
        eta = max(1.0, float(each / (2 * ((change**2).sum() + epsilon))))
        last[:] = [server, torch.where(weights, server + eta * (averaged - server), averaged)]
        return last[1]

    def serve(site: Site) -> Answer:
        both = torch.where(weights, (last[0] + last[1]) / 2, last[1])
        site.write(shared, both if site.name in world.rounds[-1].batches else last[1])
        return site.answer

    return loop(world, generator, merge=merge, serve=serve)


def fedsam(world: World, rho: float = 0.1) -> Ending:
    """Qu et al. 2022: the generator moves by the gradient at rho along its own gradient, of the same batch."""

    def train(site: Site, server: Tensor) -> None:
        net = site.nets["generator"]
        for batch in site.batches:
            fake, judge = image_of(site.nets, batch), site.nets.get_submodule(f"discriminators.{batch.task}")
            site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
            slope = site.slope(generator_loss(judge, batch, fake), "generator")
            parts = (slope * rho / slope.norm()).split([p.numel() for p in net.parameters()])
            there = {n: p + part.view_as(p) for (n, p), part in zip(net.named_parameters(), parts, strict=True)}
            fake = functional_call(net, there, (batch.source, batch.code))
            judge_loss(judge, batch, fake)  # its batch norm sees these images too
            site.move("generator", generator_loss(judge, batch, fake))

    return loop(world, generator, train)


def feddecorr(world: World, beta: float = 0.1) -> Ending:
    """Shi et al. 2023: the mean squared correlation of the channels after the last residual block, over pixels and slices."""

    def train(site: Site, server: Tensor) -> None:
        for batch in site.batches:
            maps: list[Tensor] = [batch.source]
            for layer in site.nets.get_submodule("generator.backbone").children():
                maps.append(layer(maps[-1]))
            judge = site.nets.get_submodule(f"discriminators.{batch.task}")
            site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, maps[-1]))
            correlations = torch.corrcoef(maps[-4].movedim(1, 0).flatten(1))
            loss = generator_loss(judge, batch, maps[-1])
            site.move("generator", loss + 100 * beta * (correlations**2).mean())

    return loop(world, generator, train)
