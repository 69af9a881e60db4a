"""A short run of the real trainer in float64, and all that an oracle needs to do the same with plain torch (world.py)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from support import federations
from support.federations import in_float64
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from fedsynth.benchmarks.contract.toy import small
from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Plan
from fedsynth.federation import Conditions, Federation
from fedsynth.feed import Batch, Draw, Feed
from fedsynth.method import Method
from fedsynth.networks.blocks import Dropout, Noisy
from fedsynth.networks.mmgan_unet import Imputation
from fedsynth.networks.network import Norm
from fedsynth.registry import NETWORKS
from fedsynth.runtime.optimizers.adam import Adam
from fedsynth.runtime.optimizers.optimizer import Optimizer
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.site import SiteState
from fedsynth.step import Pairs, Step
from fedsynth.step.slot import Slot
from fedsynth.trainer import Trainer

from .world import Ending, Round, World

SIZES = {"brats": 2, "ixi": 3, "oasis": 4}  # training slices
SEED = 4  # of which each pair of the three sites meets in one of three rounds, and one straggles in two
ROUNDS = 3  # of four, so that the learning rate falls in the last and nothing is validated
DEPTHS = {"blocks": 3, "pools": 2}  # so that parts of the network can be told apart
RATES: dict[type[Optimizer], float] = {SGD: 3e-4, Adam: 1e-3}


@contextmanager
def doubles() -> Iterator[None]:
    """Inside, the engine computes in float64: rounding then is too small to push a value over a kink of ReLU or L1, and what
    two programs differ in is no rounding."""
    make, before = Feed.make, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            patch.object(Feed, "make", lambda *given: in_float64(make(*given))),
            patch.object(Tensor, "float", Tensor.double),  # by which methods leave a run's bf16
        ):
            yield
    finally:
        torch.set_default_dtype(before)


def uneven() -> Federation:
    """Three sites of different sizes, which straggle."""
    parts = {name: federations.federation((name,), train=count, slices=1) for name, count in SIZES.items()}
    return Federation(
        {name: part.sites[name] for name, part in parts.items()},
        {name: part.tasks[name] for name, part in parts.items()},
        conditions=Conditions(straggle=0.4),
    )


def trainer(method: Method, optimizer: type[Optimizer], **options: Any) -> Trainer:
    """On the method's published network, small and without dropout; with batch norm under SGD, so that buffers count too."""
    network = small(NETWORKS[method.default_network()], method.needs_norm or (Norm.batch if optimizer is SGD else None))
    changes = {name: value for name, value in (DEPTHS | {"dropout": 0.0}).items() if hasattr(network, name)}
    usual: dict[str, Any] = {
        "rounds": ROUNDS + 1,
        "local_epochs": 2.0,
        "local_steps": 0,
        "batch": 2,
        "participation": 0.67,
    }
    usual |= {"validate_every": 9, "checkpoint_every": 9, "optimizer": optimizer(), "lr": RATES[optimizer]}
    return federations.trainer(method, replace(network, **changes), uneven(), seed=SEED, **(usual | options))


def record(method: Method, optimizer: type[Optimizer], **options: Any) -> tuple[World, Ending]:
    """What the sites of a run started from and were given, and what they ended with. To be called in float64."""
    of = trainer(method, optimizer, **options)
    world = World(
        start={name: deepcopy(site.nets) for name, site in of.sites.items()},
        common=of.common,
        samples={name: site.samples for name, site in of.sites.items()},
        steps={name: site.full for name, site in of.sites.items()},
        epoch={name: site.epoch for name, site in of.sites.items()},
        fresh=lambda variant: _parts(of.plan, *of.server.fresh(variant)),
        lr=of.options.lr,
        betas=(0.5, 0.999) if optimizer is Adam else None,
        planned=of.options.rounds,
        questions={name: _questions(site) for name, site in of.sites.items()},
        slices={name: _slices(site) for name, site in of.sites.items()},
    )
    with _watched(world):
        for round in range(1, ROUNDS + 1):
            of.round(round)
        ending = _ending(of, world)
    return world, ending


def _questions(site: SiteState) -> list[Batch]:
    """A slice of each task of each of a site's members."""
    return [feed.batch(task, feed.rows["test"][:1]) for feed in site.feeds.values() for task in feed.tasks]


def _slices(site: SiteState) -> list[Batch]:
    return [feed.batch(task, feed.rows["train"]) for feed in site.feeds.values() for task in feed.tasks]


@contextmanager
def _watched(world: World) -> Iterator[None]:
    schedule, draw = SiteState.schedule, SiteState.draw

    def scheduled(site: SiteState) -> list[Draw]:
        if len(world.rounds) < site.round:
            world.rounds.append(Round(site.round, site.lr))
        draws = schedule(site)
        world.rounds[-1].batches[site.name] = [one.make() for one in draws]
        return draws

    def drawn(site: SiteState, purpose: str, count: int, split: str = "train") -> list[Batch]:
        batches = draw(site, purpose, count, split)
        world.draws[site.round, site.name, purpose] = batches
        return batches

    def noise(module: nn.Module, given: object, found: object) -> None:
        if isinstance(module, Noisy) and not isinstance(module, Dropout | Imputation):
            assert isinstance(found, Tensor)
            world.rounds[-1].noise.setdefault([*world.rounds[-1].batches][-1], []).append(found.clone())

    def uncounted(step: Step, kind: Hashable, slot: Slot, pairs: Pairs) -> None:
        """A step whose operations are not counted: that would be a step more, with noise of its own."""
        step._flops[kind], step._roles[kind] = 0, []  # private: what `count` leaves

    with ExitStack() as stack:
        stack.enter_context(patch.object(Step, "count", uncounted))
        stack.enter_context(patch.object(SiteState, "schedule", scheduled))
        stack.enter_context(patch.object(SiteState, "draw", drawn))
        stack.callback(register_module_forward_hook(noise).remove)
        yield


def _ending(of: Trainer, world: World) -> Ending:
    nets = {name: {path: t.detach().clone() for path, t in site.tensors.items()} for name, site in of.sites.items()}
    served: dict[str, Mapping[str, Tensor]] = {}
    for name, site in of.sites.items():
        site.enter(ROUNDS)
        with serving(of.method, of.server_party.download(site.name), site), torch.no_grad():
            images = [site.answer(batch) for batch in world.questions[name]]
        served[name] = {f"slice {k}": image for k, image in enumerate(images)}
    return Ending(nets, _parts(of.plan, of.server.model, of.server.buffers), served)


def _parts(plan: Plan, model: Tensor, buffers: Tensor) -> dict[str, Tensor]:
    layouts = ((plan.model, model), (plan.buffers, buffers))
    return {path: layout.part(vector, path) for layout, vector in layouts for path in layout.offsets}
