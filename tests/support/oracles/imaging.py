"""pFLSynth and the methods of its field: for synthesis and reconstruction of MRI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import floor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .averages import alike, stage, without_norms
from .world import (
    Batch,
    Ending,
    Site,
    World,
    distance,
    gan_step,
    generator,
    generator_loss,
    image_of,
    judge_loss,
    loop,
    squares,
)


def pflsynth(world: World, local_share: float = 5 / 9) -> Ending:
    """Dalmaz et al. 2024: the late stages and the mapper travel. Five of nine residual blocks stay, so two of three do here."""
    kept = 3 + round(3 * local_share)

    def late(path: str, _: nn.Module) -> bool:
        return stage(path) >= kept or path.startswith("generator.mapper.")

    return loop(world, late)


def fedmri(world: World, beta: float = 100.0) -> Ending:
    """Feng et al. 2023: the encoder travels. From the second round and step on it is kept near the server's, and away from those
    that the sites uploaded last: beta |w - w_t|_1 / (sum_j |w - w_j|_1)."""
    half = len(world.common.get_submodule("generator.backbone")) // 2
    sites, shared = world.sites(), world.shared(lambda path, _: 0 <= stage(path) < half)
    weights, server, uploaded = world.weights(shared), world.initial(shared), dict[str, Tensor]()

    def contrast(encoder: list[nn.Parameter], near: Tensor, others: Mapping[str, Tensor]) -> Tensor:
        w = torch.cat([parameter.flatten() for parameter in encoder])
        far = torch.stack([(w - other[weights]).abs().sum() for other in others.values()]).sum()
        return beta * (w - near[weights]).abs().sum() / (far + 1e-14)

    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            site.write(shared, server)
            named = dict(site.nets.named_parameters())
            encoder = [named[path] for path in shared if path in named]

            term = partial(contrast, encoder, server, uploaded)
            for k, batch in enumerate(site.batches):
                gan_step(site, batch, term if k and round.number > 1 else None)
            sent[site.name] = site.read(shared)
        uploaded = uploaded | sent
        server = alike(server, sent)
    return world.ending(sites, shared, server)


def flmrcm(world: World, align: float = 1.0) -> Ending:
    """Guo et al. 2021: an identifier C learns to tell a source site's features from the target's, and the generator to deceive
    it. The first site is the target, and sends features of 64 slices at the end of a round."""
    sites, shared = world.sites(), world.shared(generator)
    server, target = world.initial(shared), min(sites)
    theirs: Tensor | None = None
    for round in world.rounds:
        sent, fresh = {}, theirs
        for site in round.present(sites):
            site.write(shared, server)
            for batch in site.batches:
                fake, own = features(site.nets["generator"], batch)
                judge, aligns = site.nets.get_submodule(f"discriminators.{batch.task}"), site.name != target
                if aligns and theirs is not None:
                    site.move("identifier", (bce(site, own.detach(), 0) + bce(site, theirs, 1)) / 2)
                site.move(f"discriminators.{batch.task}", judge_loss(judge, batch, fake))
                loss = generator_loss(judge, batch, fake)
                if aligns and theirs is not None:
                    loss = loss + 100 * align * bce(site, own, 1) / 2
                site.move("generator", loss)
            sent[site.name] = site.read(shared)
            if site.name == target:
                site.nets.eval()
                slices = [(b.source[:1], b.code[:1]) for b in site.drawn("latents")]
                assert len(slices) == 64
                fresh = torch.cat([seen_by(site.nets["generator"], *one)[1] for one in slices]).detach()
                site.nets.train()
        server, theirs = alike(server, sent), fresh
    return world.ending(sites, shared, server)


def features(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    return seen_by(net, batch.source, batch.code)


def seen_by(net: nn.Module, source: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """A U-Net's image, and the maps of its bottleneck, averaged over quarters."""
    found: list[Tensor] = []
    backbone = net.get_submodule("backbone")
    middle = backbone.get_submodule(str(len([*backbone.children()]) // 2 - 1))
    handle = middle.register_forward_hook(lambda _, __, maps: found.append(F.adaptive_avg_pool2d(maps, 2).flatten(1)))
    image = net(source, code)
    handle.remove()
    return image, found[0]


def bce(site: Site, latents: Tensor, domain: int) -> Tensor:
    """Binary cross entropy of the identifier's two scores to the one-hot of a domain."""
    wanted = F.one_hot(torch.tensor([domain]), 2).double().expand(len(latents), 2)
    p = torch.sigmoid(site.nets["identifier"](latents))
    return -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()


# --- unpaired --------------------------------------------------------------------------------------------------------


def fedcycle(world: World, losses: str = "both", cycle: float = 10.0, identity: float = 0.0) -> Ending:
    """Song and Ye 2021: one generator, told the direction by its code, leaves real images of its target unchanged. All nets
    travel."""

    def train(site: Site, server: Tensor) -> None:
        net = site.nets["generator"]
        for batch in site.batches:
            site.move("generator", unpaired(site, batch, (net, net), losses, cycle, identity, of_own=False))

    return loop(world, lambda *_: True, train)


def fedmed(world: World, losses: str = "both", cycle: float = 10.0, identity: float = 10.0) -> Ending:
    """Wang et al. 2023: CycleGAN's two generators travel, discriminators stay; each generator leaves its own output unchanged."""

    def train(site: Site, server: Tensor) -> None:
        nets = site.nets["generator"], site.nets["generator_back"]
        both = [parameter for net in nets for parameter in net.parameters()]
        for batch in site.batches:
            site.move("generator", unpaired(site, batch, nets, losses, cycle, identity, of_own=True), both)

    return loop(world, lambda path, _: path.startswith(("generator.", "generator_back.")), train)


def reversed_code(batch: Batch) -> Tensor:
    """The code with source and target contrast in each other's place."""
    count = batch.images.shape[1]
    source, target = batch.code[:, -2 * count : -count], batch.code[:, -count:]
    return torch.cat([batch.code[:, : -2 * count], target, source], 1)


def unpaired(
    site: Site, batch: Batch, nets: tuple[Any, Any], losses: str, cycle: float, identity: float, of_own: bool
) -> Tensor:
    """The generators' loss, once both discriminators have moved: LSGAN's; unless only paired slices count, consistency over a
    cycle and identity, of a generator's own output or of real images; unless only unpaired ones count, 100 L1."""
    there, back = nets
    x, y, code, reverse = batch.source, batch.second.target, batch.code, reversed_code(batch)
    fake_x, fake_y = back(y, reverse), there(x, code)
    loss = fooling(site, batch, fake_x, fake_y)
    if losses != "paired":
        loss = loss + cycle * (distance(back(fake_y, reverse), x) + distance(there(fake_x, code), y))
        if identity:
            kept_x, kept_y = (fake_x, fake_y) if of_own else (x, y)
            loss = loss + identity * (distance(there(kept_y, code), kept_y) + distance(back(kept_x, reverse), kept_x))
    if losses != "unpaired":
        loss = loss + 100 * (distance(fake_y, batch.target) + distance(fake_x, batch.second.source))
    return loss


def fooling(site: Site, batch: Batch, fake_x: Tensor, fake_y: Tensor) -> Tensor:
    """Both discriminators move; what remains is LSGAN's loss of the generators."""
    fooled = []
    for root, real, fake in (
        ("discriminators", batch.second.target, fake_y),
        ("discriminators_back", batch.source, fake_x),
    ):
        judge = site.nets.get_submodule(f"{root}.{batch.task}")
        made = fake.detach()
        site.move(f"{root}.{batch.task}", (squares(judge(real, real), 1) + squares(judge(made, made), 0)) / 2)
        fooled.append(squares(judge(fake, fake), 1))
    return fooled[0] + fooled[1]


# --- many contrasts --------------------------------------------------------------------------------------------------


def fedmm(world: World, curriculum: bool = True) -> Ending:
    """Sharma and Hamarneh 2020, and FedAvg of the generator: some contrasts are missing, at first one, and all are made."""

    def train(site: Site, server: Tensor) -> None:
        passed = (site.round - 1) / world.planned
        most = [1, 2, 3][int(6 * passed)] if passed < 0.5 and curriculum else 4
        for batch, given in zip(site.batches, site.noise, strict=True):
            count, images, here = len(batch.present), batch.images, batch.present > 0
            missing = batch.present - given
            assert given[batch.code[0, -2 * count : -count] > 0].all()
            assert missing[batch.code[0, -count:] > 0].all()
            assert 1 <= missing.sum() <= most
            net, judge = site.nets["generator"], site.nets["discriminators_joint"]
            made = net.translate(images, given, batch.code)
            shown = torch.stack([made[:, c] if missing[c] else images[:, c] for c in range(count)], 1)
            true = ((judge(images, images) - 1) ** 2)[:, here].mean()
            judged = ((judge(images, shown.detach()) - given[:, None, None]) ** 2)[:, here].mean()
            site.move("discriminators_joint", (true + judged) / 2)
            fooled = ((judge(images, shown) - 1) ** 2)[:, here].mean()
            site.move("generator", fooled + 100 * (shown - images).abs()[:, missing > 0].mean())

    return loop(world, generator, train)


# --- frequencies -----------------------------------------------------------------------------------------------------


def prrfl(world: World, alpha1: float = 0.7, alpha2: float = 0.9, window: float = 0.7, last: float = 0.95) -> Ending:
    """Chen et al. 2021: a personal model and a deputy, which travels, learn from each other by how good the deputy is. The server
    gives each site its own deputy back, with the mean amplitude of the low frequencies of each weight."""
    sites = world.sites()
    shared = world.shared(without_norms)
    server, deputies = world.initial(shared), dict[str, Tensor]()
    for round in world.rounds:
        sent = {}
        for site in round.present(sites):
            site.write(shared, deputies.get(site.name, server))
            if site.name not in deputies:
                site.write(shared, server, "personal.")
            personal = site.nets.get_submodule("personal")
            site.nets.eval()
            assert len(site.drawn("stage")) == world.epoch[site.name]
            with torch.no_grad():
                errors = [
                    torch.stack([distance(image_of(nets, b), b.target) for b in site.drawn("stage")]).mean()
                    for nets in (personal, site.nets)
                ]
            site.nets.train()
            q = float(errors[0] / errors[1])
            for batch in site.batches:
                served, deputy = image_of(personal, batch), image_of(site.nets, batch)
                for root, image, teacher, taught in (
                    ("personal.", served, deputy, q >= alpha1),
                    ("", deputy, served, q < alpha2),
                ):
                    judge = site.nets.get_submodule(f"{root}discriminators.{batch.task}")
                    site.move(f"{root}discriminators.{batch.task}", judge_loss(judge, batch, image))
                    loss = generator_loss(judge, batch, image)
                    site.move(f"{root}generator", loss + 100 * distance(image, teacher.detach()) if taught else loss)
            sent[site.name] = site.read(shared)
        server = alike(server, sent)
        deputies |= sent
        share = window + (round.number - 1) / world.planned * (last - window)
        parts = {name: world.split(shared, deputy) for name, deputy in deputies.items()}
        averaged = world.split(shared, server)
        for path in shared:
            if averaged[path].ndim < 2:
                fresh = dict.fromkeys(parts, averaged[path])
            else:
                matrices = {name: as_matrix(part[path]) for name, part in parts.items()}
                mixed = aggregated(matrices, [*sent], share)
                fresh = {name: as_weight(matrix, averaged[path].shape) for name, matrix in mixed.items()}
            for name, value in fresh.items():
                parts[name][path] = value
        deputies = {name: torch.cat([part[path].flatten() for path in shared]) for name, part in parts.items()}
    return world.ending(
        sites, shared, server, lambda site: lambda asked: image_of(site.nets.get_submodule("personal"), asked)
    )


def aggregated(matrices: Mapping[str, np.ndarray], senders: Sequence[str], share: float) -> dict[str, np.ndarray]:
    """Progressive Fourier aggregation: the mean amplitude of the senders in the central share of the frequencies of each."""
    spectra = {name: np.fft.fft2(matrix) for name, matrix in matrices.items()}
    common = np.mean([np.abs(spectra[name]) for name in senders], 0)
    low = [np.abs(np.fft.fftfreq(n, 1 / n)) <= floor(n * share / 2) for n in common.shape]
    found = {}
    for name, spectrum in spectra.items():
        amplitude = np.where(np.outer(*low), common, np.abs(spectrum))
        back = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum)))
        assert np.abs(back.imag).max() < 1e-9
        found[name] = back.real
    return found


def as_matrix(weight: Tensor) -> np.ndarray:
    """(input channels x kernel rows) by (kernel columns x output channels)."""
    _, i, h, _ = weight.shape
    return np.transpose(weight.numpy(), (1, 2, 3, 0)).reshape(i * h, -1)


def as_weight(matrix: np.ndarray, shape: torch.Size) -> Tensor:
    """The weight of such a matrix."""
    o, i, h, w = shape
    return torch.from_numpy(matrix.reshape(i, h, w, o).transpose(3, 0, 1, 2).copy())
