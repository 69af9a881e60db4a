"""`experiment=released` is the released pFLSynth loop: against that loop, written out in plain torch from its script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from support.oracles.recorded import doubles
from torch import Tensor, nn

from fedsynth.benchmarks.config.compose import composed, load_choices
from fedsynth.benchmarks.config.schema import Run
from fedsynth.evaluation.evaluate import serving
from fedsynth.federation.intensities import Normalisation
from fedsynth.feed import Batch, Draw
from fedsynth.networks.blocks import Norm
from fedsynth.networks.conditioning import Init
from fedsynth.networks.personalised import Personalised
from fedsynth.runtime.schedules.released import Released
from fedsynth.site import SiteState
from fedsynth.trainer import Trainer

ROUNDS = 4
SMALL = ["network.width=2", "network.blocks=3", "network.latent=8", "network.discriminator_width=2"]
SMALL += ["network.discriminator_layers=1", "dataset.size=16", "dataset.slices=1", "dataset.train=3", "dataset.val=1"]
SMALL += ["dataset.test=1", "scenario.sites=[ixi,oasis]", f"trainer.rounds={ROUNDS}", "trainer.lr=1e-3"]
SHARED = re.compile(
    r"generator\.(backbone\.[5678]|mapper)\."
)  # of 3 blocks the last, both ups, the head; and the mapper


@pytest.fixture(scope="module", autouse=True)
def choices() -> None:
    load_choices()


def released(*words: str) -> Run:
    return Run.of(composed(["experiment=released", *words]))


def trainer(run: Run, cache: Path) -> Trainer:
    return Trainer(run.method, run.network, run.scenario.federation(run.dataset, cache), run.trainer, run.seed)


def test_it_has_the_released_sizes_and_every_switch() -> None:
    run = released()
    assert isinstance(run.network, Personalised)
    assert (run.network.norm, run.network.init, run.network.dropout) == (Norm.batch, Init.released, 0.5)
    assert (run.network.width, run.network.blocks, run.network.latent) == (64, 9, 512)
    options = run.trainer
    assert (options.common_start, options.serve_training, options.schedule) == (False, True, Released())
    assert (options.rounds, options.local_epochs, options.batch, options.lr) == (150, 1.0, 1, 2e-4)
    assert (run.scenario.name, run.scenario.normalise) == ("variable", {"default": Normalisation.slice})


def test_the_schedule_is_the_released_ones() -> None:
    """From its rule: 1 - max(0, epoch + 1 + 1 - niter) / (niter_decay + 1), epochs from 0, 75 and 75 of them."""
    expected = [1 - max(0, epoch + 2 - 75) / 76 for epoch in range(150)]
    assert [Released().factor(epoch + 1, 150) for epoch in range(150)] == pytest.approx(expected, abs=1e-12)
    assert expected[73:75] == [1, 75 / 76]
    assert expected[149] == 0


class Model:
    """A site of the released script: a generator, a discriminator for each task, an Adam for each."""

    def __init__(self, nets: nn.ModuleDict) -> None:
        self.nets: Any = nets.train()
        judges = self.nets["discriminators"]
        self.adam = {
            net: torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999))
            for net in [self.nets["generator"], *judges.values()]
        }

    def epoch(self, batches: Sequence[Batch], lr: float) -> None:
        for adam in self.adam.values():
            adam.param_groups[0]["lr"] = lr
        for batch in batches:
            self.optimise(batch)

    def optimise(self, batch: Batch) -> None:
        generator, judge = self.nets["generator"], self.nets["discriminators"][str(batch.task)]
        fake = generator(batch.source, batch.code)
        scores = judge(batch.source, fake.detach()), judge(batch.source, batch.target)
        self.descend(judge, 0.5 * (scores[0].square().mean() + (scores[1] - 1).square().mean()))
        fooled = (judge(batch.source, fake) - 1).square().mean()
        self.descend(generator, fooled + 100 * (fake - batch.target).abs().mean())

    def descend(self, net: nn.Module, loss: Tensor) -> None:
        self.adam[net].zero_grad()
        loss.backward()
        self.adam[net].step()


def test_four_rounds_are_the_released_loops(tmp_path: Path) -> None:
    batches: dict[tuple[str, int], list[Batch]] = {}
    schedule = SiteState.schedule

    def noted(site: SiteState) -> list[Draw]:
        draws = schedule(site)
        batches[site.name, site.round] = [draw.make() for draw in draws]
        return draws

    with doubles(), patch.object(SiteState, "schedule", noted):
        of = trainer(released(*SMALL, "network.dropout=0", "trainer.zoom=1"), tmp_path)  # both take the same batches
        models = {name: Model(deepcopy(site.nets)) for name, site in of.sites.items()}
        for round in range(1, ROUNDS + 1):
            of.round(round)
            own = {name: batches[name, round] for name in models}
            for name, model in models.items():
                model.epoch(own[name], 1e-3 * (1 - max(0, round + 1 - ROUNDS / 2) / (ROUNDS / 2 + 1)))
            average(models, {name: len(drawn) for name, drawn in own.items()})  # batches of 1: the training slices
        for name, site in of.sites.items():
            with serving(of.method, of.server_party.download(site.name), site), torch.no_grad():
                compare(site, models[name].nets.state_dict())
                feed = site.feeds[name]
                batch = feed.batch(feed.tasks[0], feed.rows["val"])
                image = models[name].nets["generator"](batch.source[:1], batch.code[:1])  # nobody called eval()
                torch.testing.assert_close(site.answer(batch)[:1], image, rtol=1e-7, atol=1e-9)


def average(models: Mapping[str, Model], shares: Mapping[str, int]) -> None:
    """Load the weighted mean of what is shared into all models."""
    states = {name: model.nets.state_dict() for name, model in models.items()}
    shared = [key for key, tensor in states["ixi"].items() if SHARED.match(key) and tensor.is_floating_point()]
    means = {
        key: sum(shares[name] * state[key] for name, state in states.items()) / sum(shares.values()) for key in shared
    }
    for model in models.values():
        model.nets.load_state_dict(means, strict=False)


def compare(site: SiteState, state: Mapping[str, Tensor]) -> None:
    """All but the discriminators' running statistics, which nothing reads, and which depend on whom they judge first."""
    for path, tensor in state.items():
        if tensor.is_floating_point() and not re.match(r"discriminators.*running", path):
            torch.testing.assert_close(site.tensors[path], tensor, rtol=1e-7, atol=1e-9, msg=f"{site.name} {path}")


def test_dropout_stays_on_when_a_site_serves_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    of = trainer(released(*SMALL), tmp_path)
    site = of.sites["ixi"]
    feed = site.feeds["ixi"]
    batch = feed.batch(feed.tasks[0], feed.rows["train"])
    before = {path: tensor.clone() for path, tensor in site.tensors.items()}
    with serving(of.method, of.server_party.download(site.name), site), torch.no_grad():
        image, again = site.answer(batch), site.answer(batch)
        with site.training(False):
            silent = site.nets["generator"](batch.source, batch.code)
        alone = site.answer(batch.alone(1))
    assert torch.equal(image, again)
    assert torch.equal(image[1:2], alone)
    assert not torch.allclose(image, silent, atol=1e-3)
    assert all(torch.equal(tensor, before[path]) for path, tensor in site.tensors.items())
