"""Methods whose server takes a mean, and which differ in what travels and in what is trained by."""

from __future__ import annotations

from torch import Tensor

from .world import Ending, Site, World, gan_step, generator, loop


def fedavg(world: World) -> Ending:
    return loop(world, generator)


def fedprox(world: World, mu: float = 0.01) -> Ending:
    def train(site: Site, server: Tensor) -> None:
        received = site.flat("generator").detach()
        for batch in site.batches:
            gan_step(site, batch, lambda: mu / 2 * (site.flat("generator") - received).square().sum())

    return loop(world, generator, train)
