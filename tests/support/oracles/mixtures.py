"""Methods that give every site a mixture of its own, or one of several models."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from torch import Tensor

from .averages import stage
from .world import Answer, Batch, Ending, Site, World, gan_step, gan_steps, generator, generator_loss, image_of, mean


def loss_of(site: Site, batches: list[Batch]) -> Tensor:
    """The generator's mean loss over batches."""
    judges = site.nets["discriminators"]
    losses = [generator_loss(judges.get_submodule(str(b.task)), b, image_of(site.nets, b)) for b in batches]
    return torch.stack(losses).mean()


def fedala(
    world: World, eta: float = 1.0, sample: float = 0.8, layers: int = 1, most_passes: int = 30, spread: float = 10.0
) -> Ending:
    """Zhang et al. 2023: a site starts from local + (global - local) W in the last layers, where it learns W on its own data; the
    first time in many passes, later in one. A site that never trained takes the global model."""
    sites, shared = world.sites(), world.shared(generator)
    weights, server = world.weights(shared), world.initial(shared)
    count = max(map(stage, shared)) + 1
    parts = world.split(shared, server).items()
    top = torch.cat([torch.full((part.numel(),), stage(path) >= count - layers) for path, part in parts]) & weights

    def start(site: Site, server: Tensor) -> None:
        local = site.read(shared)
        site.write(shared, server)
        if "W" not in site.own:
            return
        batches, gap, losses = site.drawn("weights"), server - local, []
        assert len(batches) == ceil(sample * world.epoch[site.name])
        site.nets.eval()
        mixed = server.clone()
        while True:
            for batch in batches:
                mixed[top] = local[top] + gap[top] * site.own["W"][top]
                site.write(shared, mixed)
                loss = loss_of(site, [batch])
                slope = torch.zeros_like(server)
                slope[weights] = site.slope(loss, "generator")
                site.own["W"] = (site.own["W"] - eta * slope * gap).clip(0, 1)
            losses.append(loss.item())
            settled = len(losses) > 10 and np.std(losses[-10:]) < spread
            if site.own["settled"] or settled or len(losses) == most_passes:
                break
        site.own["settled"] = True
        mixed[top] = local[top] + gap[top] * site.own["W"][top]
        site.write(shared, mixed)
        site.nets.train()

    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            start(site, server)
            gan_steps(site, server)
            site.own.setdefault("W", torch.ones_like(server))
            site.own.setdefault("settled", False)
            sent[site.name] = site.read(shared)
        server = mean(sent, world.samples, server)

    def serve(site: Site) -> Answer:
        start(site, server)
        return site.answer

    return world.ending(sites, shared, server, serve)


def fedamp(world: World, sigma: float = 1e-4, alpha: float = 1.0, lam: float = 100.0) -> Ending:
    """Huang et al. 2021: a site keeps its model w_k, which lam / (2 alpha) |w_k - u_k|^2 pulls to u_k. This is w_k plus the sum
    of alpha/K exp(-|w_k - w_j|^2 / (N sigma)) (w_j - w_k) over the models uploaded last. A site that never trained takes the
    mean."""
    sites, shared = world.sites(), world.shared(lambda path, owner: generator(path, owner) and ".running_" not in path)
    server, uploaded = world.initial(shared), dict[str, Tensor]()
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            own = uploaded.get(site.name)
            if own is None:
                cloud = server
                site.write(shared, server)
            else:
                gaps = [w - own for name, w in uploaded.items() if name != site.name]
                xi = [alpha / len(sites) * torch.exp(-(gap @ gap) / (len(gap) * sigma)) for gap in gaps]
                cloud = own + sum(x * gap for x, gap in zip(xi, gaps, strict=True))

            def pull(site: Site = site, cloud: Tensor = cloud) -> Tensor:
                return lam / (2 * alpha) * (site.flat("generator") - cloud).square().sum()

            for batch in site.batches:
                gan_step(site, batch, pull)
            sent[site.name] = site.read(shared)
        uploaded |= sent
        server = mean(sent, world.samples, server)
    return world.ending(sites, shared, server, lambda site: site.answer)  # all have trained


def fedfomo(world: World, sample: float = 0.2) -> Ending:
    """Zhang et al. 2021: a site moves from t_k, where its last training began, by the mean of w_n - t_k, weighted by how much
    less w_n loses, per distance. w_n are the others' models and the one with which it ended. Of three sites none is left out."""
    sites, shared = world.sites(), world.shared(generator)
    weights, server = world.weights(shared), world.initial(shared)
    uploaded: dict[str, Tensor] = {}

    def start(site: Site, server: Tensor) -> None:
        others = [model for name, model in uploaded.items() if name != site.name]
        if others:
            batches, began = site.drawn("weights"), site.own.get("start", site.read(shared))
            assert len(batches) == ceil(sample * world.epoch[site.name])
            models, losses = [began, site.read(shared), *others], []
            site.nets.eval()
            for model in models:
                site.write(shared, model)
                losses.append(loss_of(site, batches).detach())
            site.nets.train()
            gains = [
                float((losses[0] - loss) / gap.norm()) if gap.any() else 0.0
                for loss, model in zip(losses[1:], models[1:], strict=True)
                for gap in [(model - began)[weights]]
            ]
            up = [max(gain, 0.0) for gain in gains]
            mixed = began.clone()
            if sum(up):
                mixed += sum(share / sum(up) * (w - began) for share, w in zip(up, models[1:], strict=True))
            site.write(shared, mixed)
        else:
            site.write(shared, server)
        site.own["start"] = site.read(shared)

    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            start(site, server)
            gan_steps(site, server)
            sent[site.name] = site.read(shared)
        uploaded |= sent
        server = mean(sent, world.samples, server)

    def serve(site: Site) -> Answer:
        start(site, server)
        return site.answer

    return world.ending(sites, shared, server, serve)


def ifca(world: World, clusters: int = 2) -> Ending:
    """Ghosh et al. 2020, model averaging: a site trains that of the server's models which loses least on its own slices. Each
    becomes the mean of what the sites that chose it made of it."""
    sites, shared = world.sites(), world.shared(generator)
    models = [world.initial(shared, variant) for variant in range(clusters)]

    def start(site: Site) -> int:
        batches, losses = site.drawn("choice"), []
        assert len(batches) == world.epoch[site.name]
        site.nets.eval()
        for model in models:
            site.write(shared, model)
            losses.append(loss_of(site, batches).item())
        site.nets.train()
        choice = losses.index(min(losses))
        site.write(shared, models[choice])
        return choice

    for round in world.rounds:
        sent: list[dict[str, Tensor]] = [{} for _ in models]
        for site in round.present(sites):
            choice = start(site)
            gan_steps(site, models[choice])
            sent[choice][site.name] = site.read(shared)
        models = [mean(s, world.samples, model) if s else model for s, model in zip(sent, models, strict=True)]

    def serve(site: Site) -> Answer:
        start(site)
        return site.answer

    return world.ending(sites, shared, models[0], serve)
