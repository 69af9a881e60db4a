"""Methods whose server, or whose correction at the sites, is more than a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .averages import without_norms
from .world import Ending, Rule, Site, World, gan_step, generator, generator_loss, image_of, judge_loss, loop, mean


def fedavgm(world: World, momentum: float = 0.9) -> Ending:
    """Hsu et al. 2019: v <- beta v + (w - mean), w <- w - v."""
    weights, velocity = world.weights(world.shared(generator)), [torch.zeros(())]

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        averaged = mean(sent, world.samples, server)
        velocity[0] = momentum * velocity[0] + (server - averaged)
        return torch.where(weights, server - velocity[0], averaged)

    return loop(world, generator, merge=merge)


def adaptive(
    world: World,
    beta1: float,
    tau: float,
    eta: float,
    second: Callable[[Tensor, Tensor], Tensor],
    rule: Rule = generator,
) -> Ending:
    """Reddi et al. 2021, algorithm 2, with m starting at 0 and v at tau^2. `second`: the new v of v and the squared change."""
    weights = world.weights(world.shared(rule))
    m, v = torch.zeros(len(weights)), torch.full((len(weights),), tau**2)

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        averaged = mean(sent, world.samples, server)
        change = averaged - server
        m.copy_(beta1 * m + (1 - beta1) * change)
        v.copy_(second(v, change**2))
        return torch.where(weights, server + eta * m / (v.sqrt() + tau), averaged)

    return loop(world, rule, merge=merge)


def fedadam(world: World, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3, eta: float = 0.01) -> Ending:
    return adaptive(world, beta1, tau, eta, lambda v, square: beta2 * v + (1 - beta2) * square)


def fedbadam(world: World, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3, eta: float = 0.01) -> Ending:
    """Fiszer et al. 2026: FedAdam of all but the normalisation."""
    return adaptive(world, beta1, tau, eta, lambda v, square: beta2 * v + (1 - beta2) * square, without_norms)


def fedyogi(world: World, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3, eta: float = 0.01) -> Ending:
    return adaptive(world, beta1, tau, eta, lambda v, square: v - (1 - beta2) * square * torch.sign(v - square))


def fedadagrad(world: World, beta1: float = 0.0, tau: float = 1e-3, eta: float = 0.01) -> Ending:
    return adaptive(world, beta1, tau, eta, lambda v, square: v + square)


def fednova(world: World) -> Ending:
    """Wang et al. 2020: w + tau sum_k p_k (w_k - w) / a_k, with tau = sum_k p_k a_k and a_k steps at site k."""
    weights, steps = world.weights(world.shared(generator)), {}

    def train(site: Site, server: Tensor) -> None:
        steps[site.name] = len(site.batches)
        for batch in site.batches:
            gan_step(site, batch)

    def merge(server: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        total = sum(world.samples[name] for name in sent)
        p = {name: world.samples[name] / total for name in sent}
        tau = sum(p[name] * steps[name] for name in sent)
        moved = server + tau * sum(p[name] * (sent[name] - server) / steps[name] for name in sent)
        return torch.where(weights, moved, mean(sent, world.samples, server))

    return loop(world, generator, train, merge)


def feddyn(world: World, alpha: float = 1.0) -> Ending:
    """Acar et al. 2021 in the released form: the loss has alpha_k (<h_k, w> + 1/2 |w - w_t|^2), and h_k grows by w_k - w_t. The
    server sends the mean of the models that arrived plus the mean of all h_k. alpha_k is alpha by a site's relative weight."""
    sites, shared = world.sites(), world.shared(generator)
    weights, server = world.weights(shared), world.initial(shared)
    h = {name: torch.zeros(int(weights.sum())) for name in sites}
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            site.write(shared, server)
            start, own = site.flat("generator").detach(), h[site.name]
            strength = alpha * (sum(world.samples.values()) / len(sites)) / site.samples

            def pull(site: Site = site, own: Tensor = own, start: Tensor = start, strength: float = strength) -> Tensor:
                w = site.flat("generator")
                return strength * (own @ w + (w - start).square().sum() / 2)

            for batch in site.batches:
                gan_step(site, batch, pull)
            h[site.name] = own + site.flat("generator").detach() - start
            sent[site.name] = site.read(shared)
        server = torch.stack([*sent.values()]).mean(0)
        server[weights] += torch.stack([*h.values()]).mean(0)
    return world.ending(sites, shared, server)


def scaffold(world: World, eta_g: float = 1.0) -> Ending:
    """Karimireddy et al. 2020, algorithm 1, option II. Under Adam, where the way gone does not tell it, the new c_k is the mean
    of the gradients before correction, which it is under SGD."""
    sites, shared = world.sites(), world.shared(generator)
    weights, server = world.weights(shared), world.initial(shared)
    c, own = torch.zeros(int(weights.sum())), {name: torch.zeros(int(weights.sum())) for name in sites}
    for round in world.rounds:
        sent, changes = {}, []
        for site in round.present(sites):
            site.write(shared, server)
            x, c_k, slopes = site.flat("generator").detach(), own[site.name], []
            for batch in site.batches:
                fake, judge = image_of(site.nets, batch), site.nets.get_submodule(f"discriminators.{batch.task}")
                site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
                slopes.append(site.slope(generator_loss(judge, batch, fake), "generator"))
                site.move("generator", (slopes[-1] - c_k + c) @ site.flat("generator"))
            y = site.flat("generator").detach()
            raw = torch.stack(slopes).mean(0)
            own[site.name] = raw if world.betas else c_k - c + (x - y) / (len(site.batches) * site.lr)
            changes.append(own[site.name] - c_k)
            sent[site.name] = site.read(shared)
        averaged = mean(sent, world.samples, server)
        server = torch.where(weights, server + eta_g * (averaged - server), averaged)
        c = c + torch.stack(changes).sum(0) / len(sites)
    return world.ending(sites, shared, server)
