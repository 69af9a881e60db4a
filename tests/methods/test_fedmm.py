"""FedMM against MM-GAN's equations, contrast by contrast, in plain torch; what is drawn, when, and what travels and is served."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
from support import federations
from support.federations import CONTRASTS, in_float64, uneven
from support.probes import local
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.exchange import ContractError
from fedsynth.federation import Federation
from fedsynth.feed import Batch
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedmm import JUDGE, FedMM, GivenContrasts
from fedsynth.networks.mmgan_unet import MMGANUNet
from fedsynth.networks.network import Network
from fedsynth.registry import NETWORKS
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects
LACKS = {"brats": "PD", "ixi": "FLAIR"}


def trainer(
    method: FedMM | None = None, on: Network | None = None, has: dict[str, str] | None = None, **given: Any
) -> Trainer:
    whole = uneven(SIZES)
    sites = dict(whole.sites)
    for name, lacking in LACKS.items() if has is None else has.items():
        kept = [k for k, contrast in enumerate(CONTRASTS) if contrast not in lacking.split()]
        images = sites[name].images[:, kept]
        sites[name] = replace(sites[name], images=images, contrasts=tuple(CONTRASTS[k] for k in kept))
    return federations.trainer(method or FedMM(), on or small(MMGANUNet), Federation(sites, whole.tasks), **given)


def first(of: Trainer, name: str) -> tuple[SiteState, Batch]:
    site = of.sites[name]
    site.enter(1)
    return site, next(draw.make() for draw in site.schedule())


def losses(nets: nn.ModuleDict, batch: Batch, given: list[float]) -> tuple[Tensor, Tensor]:
    """MM-GAN's, contrast by contrast: the discriminator's and the generator's."""
    present = [c for c, there in enumerate(batch.present.tolist()) if there]
    missing = [c for c in present if not given[c]]
    made = nets["generator"].translate(batch.images, torch.tensor(given, dtype=batch.images.dtype), batch.code)
    shown = [made[:, c] if c in missing else batch.images[:, c] for c in range(len(given))]
    x, shown_x = batch.images, torch.stack(shown, 1)
    real, fake, again = nets[JUDGE](x, x), nets[JUDGE](x, shown_x.detach()), nets[JUDGE](x, shown_x)
    true = sum(((real[:, c] - 1) ** 2).mean() for c in present)
    told = sum(((fake[:, c] - given[c]) ** 2).mean() for c in present)
    fooled = sum(((again[:, c] - 1) ** 2).mean() for c in present) / len(present)
    apart = sum((made[:, c] - x[:, c]).abs().mean() for c in missing) / len(missing)
    return (true + told) / len(present) / 2, fooled + 100 * apart


@pytest.mark.parametrize("name", ["ixi", "midas"])  # three contrasts, and all
def test_the_losses_are_mmgans(name: str) -> None:
    of = trainer()
    site, batch = first(of, name)
    nets, batch = site.nets.double(), in_float64(batch)
    assert batch.images.shape[1] == 4
    source, target = (CONTRASTS.index(contrast) for contrast in batch.task.contrasts)
    others = [c for c in range(4) if c not in (source, target) and batch.present[c]]
    for kept in product((0.0, 1.0), repeat=len(others)):
        given = [float(c == source) for c in range(4)]
        for c, there in zip(others, kept, strict=True):
            given[c] = there
        drawn = torch.tensor(given, dtype=torch.float64)
        fixed = {"generator": nets["generator"], JUDGE: nets[JUDGE], "scenario": lambda *_, drawn=drawn: drawn}
        (judge, told), (generator, loss) = of.method.objective(fixed, batch)
        assert (judge, generator) == (JUDGE, "generator")
        expected = losses(nets, batch, given)
        torch.testing.assert_close((told, loss), expected, rtol=1e-10, atol=0)
        slopes = torch.autograd.grad(told, list(nets["generator"].parameters()), allow_unused=True)
        assert all(slope is None for slope in slopes)


def test_with_two_contrasts_and_no_discriminator_it_is_fedavgs_l1() -> None:
    of = trainer(FedMM(adversarial=0.0), has={"midas": "PD FLAIR"})
    site, batch = first(of, "midas")
    nets, batch = site.nets.double(), in_float64(batch)
    [(player, loss)] = of.method.step(site, batch)
    [(_, plain)] = FedAvg(adversarial=0.0).objective(nets, batch)
    assert player == "generator"
    parameters = list(nets["generator"].parameters())
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    expected = torch.autograd.grad(plain, parameters, allow_unused=True)
    for ours, theirs in zip(slopes, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# --- what is given, and when -----------------------------------------------------------------------------------------


def expected(present: list[int], source: int, target: int, most: int) -> set[tuple[float, ...]]:
    """All that may be given."""
    every = product((0.0, 1.0), repeat=len(present))
    return {
        given
        for given in every
        if given[source] == 1
        and given[target] == 0
        and all(g <= p for g, p in zip(given, present, strict=True))
        and sum(present) - sum(given) <= most
    }


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["ixi", "midas"])
def test_what_is_given_is_drawn_evenly_from_what_fits(name: str, most: int) -> None:
    _, batch = first(trainer(), name)
    source, target = (CONTRASTS.index(contrast) for contrast in batch.task.contrasts)
    fits = expected([int(there) for there in batch.present], source, target, most)
    scenario = GivenContrasts()
    scenario.generator = torch.Generator().manual_seed(1)
    counts = Counter(tuple(scenario(batch, most).tolist()) for _ in range(400))
    assert set(counts) == fits
    assert min(counts.values()) > 400 / len(fits) - 4 * np.sqrt(400 / len(fits))
    assert len(fits) == {"ixi": [1, 2, 2, 2], "midas": [1, 3, 4, 4]}[name][most - 1]


def test_every_step_draws_anew_and_a_repeated_run_draws_the_same() -> None:
    runs = []
    for _ in range(2):
        of = trainer(FedMM(curriculum=False), rounds=9, local_steps=8)
        drawn = list[tuple[float, ...]]()
        of.sites["midas"].nets["scenario"].register_forward_hook(lambda _, __, g, d=drawn: d.append(tuple(g.tolist())))
        for round in (1, 2):
            local(of, "midas", round)
        runs.append(drawn)
    assert runs[0] == runs[1]
    assert len(set(runs[0][:8])) > 2
    assert runs[0][:8] != runs[0][8:]


def test_more_and_more_may_be_missing() -> None:
    of = trainer()
    site = of.sites["ixi"]

    def phases(method: FedMM, rounds: int) -> list[str]:
        found, site.rounds = [], rounds
        for round in range(1, rounds + 1):
            site.round = round
            found.append(method.phase(site, 3))
        return found

    assert phases(FedMM(), 60) == ["1"] * 10 + ["2"] * 10 + ["3"] * 10 + [""] * 30
    assert phases(FedMM(), 6) == ["1", "2", "3", "", "", ""]
    assert phases(FedMM(), 150).count("1") == 25
    assert set(phases(FedMM(curriculum=False), 150)) == {""}


@pytest.mark.parametrize(("phase", "missing"), [("1", {1}), ("2", {1, 2}), ("3", {1, 2, 3}), ("", {1, 2, 3})])
def test_a_step_keeps_to_its_phase(phase: str, missing: set[int]) -> None:
    site, batch = first(trainer(), "midas")
    found = set()
    site.nets["scenario"].register_forward_hook(lambda _, __, given: found.add(4 - int(given.sum())))
    site.phase = phase
    for _ in range(25):
        next(site._method.step(site, batch))  # the method itself, since the site's own step would move the nets
    assert found == missing


# --- what travels and is served --------------------------------------------------------------------------------------


@torch.no_grad()
def test_what_is_served_knows_the_source_alone() -> None:
    of = trainer()
    site, batch = first(of, "midas")
    image = of.method.synthesise(site, batch)
    assert image.shape == batch.target.shape
    blind = replace(batch, images=torch.full_like(batch.images, torch.nan), target=batch.target * torch.nan)
    assert torch.equal(of.method.synthesise(site, blind), image)
    given = torch.tensor([float(contrast == batch.task.source) for contrast in CONTRASTS])
    every = cast(Any, site.nets["generator"]).translate(batch.images, given, batch.code)
    assert torch.equal(image[:, 0], every[:, CONTRASTS.index(batch.task.target)])


@pytest.mark.parametrize("name", [name for name in NETWORKS.entries() if name != "mmgan_unet"])
def test_a_network_of_one_contrast_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(ContractError, match=r"FedMM .*takes one: set network=mmgan_unet"):
        trainer(on=small(NETWORKS[name]))
