"""Methods with a personal model beside the federated one."""

from __future__ import annotations

from torch import Tensor

from .world import Answer, Ending, Site, World, gan_step, generator, image_of, loop


def ditto(world: World, lam: float = 1.0) -> Ending:
    """On every batch a site trains a personal generator, which it pulls towards the received one, and then the federated one. It
    serves the personal one."""

    def train(site: Site, server: Tensor) -> None:
        received = site.flat("generator").detach()
        for batch in site.batches:
            pull = lambda: lam / 2 * (site.flat("personal.generator") - received).square().sum()  # noqa: E731
            gan_step(site, batch, pull, "personal.")
            gan_step(site, batch)

    def serve(site: Site) -> Answer:
        return lambda asked: image_of(site.nets["personal"], asked)

    return loop(world, generator, train, serve=serve)
