"""Tasks of several sources: how they are written, what a network is given, and that nothing changes where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import federation, options, site, trainer
from torch import nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.evaluation.evaluate import copy_source
from fedsynth.evaluation.heterogeneity import heterogeneity
from fedsynth.exchange import ContractError
from fedsynth.federation import Columns, Conditions, Federation, FederationError, Site, Subject, Task
from fedsynth.feed import Batch, Feed
from fedsynth.method import Blueprint, Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedcycle import FedCycle
from fedsynth.methods.fedmed import FedMed
from fedsynth.methods.fedmm import FedMM
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.mmgan_unet import MMGANGenerator, MMGANUNet
from fedsynth.networks.network import Network
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.registry import NETWORKS

SEVERAL: dict[str, Sequence[str]] = {"brats": ["T2+T1->PD"], "ixi": ["T1->PD", "FLAIR->T2"], "midas": ["T1->PD"]}
BOTH, T1, FLAIR = Task.parse("T1+T2->PD"), Task.parse("T1->PD"), Task.parse("FLAIR->T2")
CPU = torch.device("cpu")


def several(tasks: Mapping[str, Sequence[str]] = SEVERAL) -> Federation:
    return federation(tuple(tasks), tasks)


# Tasks and codes


def test_the_order_of_the_sources_is_none_of_the_task() -> None:
    assert Task.parse("T2 + T1 -> PD") == Task("T2+T1", "PD") == BOTH
    assert str(BOTH) == "T1+T2->PD"
    assert (BOTH.sources, BOTH.contrasts) == (("T1", "T2"), ("T1", "T2", "PD"))
    assert str(Task.parse("SWI+ADC+FLAIR->T1")) == "FLAIR+ADC+SWI->T1"  # others behind those that have an order
    assert sorted([BOTH, T1, FLAIR]) == [FLAIR, T1, BOTH]


@pytest.mark.parametrize("text", ["T1+->T2", "+T1->T2", "T1+T1->T2", "T1+T2->T1", "T1->T2+PD", "T1+T.2->PD"])
def test_texts_that_are_no_task(text: str) -> None:
    with pytest.raises(FederationError, match=r"not of the form SOURCE->TARGET or SOURCE\+SOURCE->TARGET"):
        Task.parse(text)


def test_codes_have_a_one_for_each_source() -> None:
    of = several()
    assert of.contrasts == ("T1", "T2", "PD", "FLAIR")
    assert of.columns == Columns(3, 4, (0, 1, 3))
    assert (of.columns.length, of.columns.channels) == (11, 3)
    assert of.code("brats", BOTH).tolist() == [1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]  # site, sources, target
    assert of.code("ixi", FLAIR).tolist() == [0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0]


def test_where_no_task_has_several_all_is_as_it_was() -> None:
    of = several({"brats": ["T2->PD"], "ixi": ["T1->PD", "FLAIR->T2"]})
    assert of.columns == Columns(2, 4)
    assert of.columns.channels == 1
    batch = Feed(of, "ixi", options(), 0, CPU).batch(T1, np.arange(2))
    assert torch.equal(batch.source, batch.images[:, :1])


@pytest.mark.parametrize(
    "changes",
    [{"conditions": Conditions(asks={"ixi": ["T1+T2->PD"]})}, {"newcomers": {"oasis": (BOTH,)}}],
)
def test_tasks_that_nobody_trains_count_too(changes: dict[str, Any]) -> None:
    one = several({"brats": ["T2->PD"], "ixi": ["T1->PD"]})
    of = replace(one, sites={**one.sites, "oasis": site("oasis")}, **changes)
    assert of.columns.sources == (0, 1)


def test_what_a_site_lacks_is_named() -> None:
    poor = site("ixi")
    poor = replace(poor, contrasts=("T1", "PD"), images=poor.images[:, [0, 2]])
    with pytest.raises(FederationError, match=r"site ixi: task T1\+T2->PD needs T2, but its images are T1, PD"):
        Federation({"ixi": poor}, {"ixi": (BOTH,)})


# Batches


def batches(of: Federation, name: str) -> list[Batch]:
    """Augmented, as they are, and another draw."""
    feed = Feed(of, name, options(flip=True, zoom=1.3), 0, CPU)
    drawn = [draw.make() for draw in feed.train(1, second=True)]
    seconds = [batch.second for batch in drawn if batch.second is not None]
    return [*drawn, *seconds, *feed.draw(2, "train", "look"), *(feed.batch(task, np.arange(3)) for task in feed.tasks)]


def test_a_channel_for_every_source_there_is() -> None:
    of = several()
    for name in of.names:
        for batch in batches(of, name):
            assert batch.source.shape == (len(batch.images), 3, 16, 16)
            for channel, contrast in enumerate(("T1", "T2", "FLAIR")):
                if contrast in batch.task.sources:
                    assert torch.equal(batch.source[:, channel], batch.images[:, of.contrasts.index(contrast)])
                else:
                    assert (batch.source[:, channel] == -1).all()


def test_a_site_that_lacks_a_source_of_others_trains_beside_them() -> None:
    poor = site("midas")
    poor = replace(poor, contrasts=("T1", "PD"), images=poor.images[:, [0, 2]])
    of = several()
    of = replace(of, sites={**of.sites, "midas": poor})
    (batch, *_) = batches(of, "midas")
    assert (batch.source[:, 1:] == -1).all()
    outcome = trainer(FedAvg(), small(ResNet), of).run()
    assert {row["task"] for row in outcome.scores} == {"T1+T2->PD", "T1->PD", "FLAIR->T2"}
    assert all(np.isfinite(row["psnr"]) for row in outcome.scores)


# Networks


def blind(one: nn.Module, two: nn.Module, image_last: bool = False) -> None:
    """Give a net of two source channels the weights of a net of one, and zeros for the second channel."""
    with torch.no_grad():
        for there, here in zip(two.parameters(), one.parameters(), strict=True):
            if there.shape != here.shape:
                channels = [0, -1] if image_last else [0]
                there.zero_()
                there[:, channels] = here
            else:
                there.copy_(here)


@pytest.mark.parametrize("name", [name for name in NETWORKS.entries() if name != "mmgan_unet"])
def test_a_second_channel_that_is_ignored_changes_nothing(name: str) -> None:
    network = small(NETWORKS[name])
    torch.manual_seed(0)
    one, two = network.generator(Columns(2, 3)).eval(), network.generator(Columns(2, 3, (0, 1))).eval()
    judge, other = network.discriminator(), network.discriminator(2)
    blind(one, two)
    blind(judge, other, image_last=True)
    pair, image, code = torch.rand(3, 2, 32, 32), torch.rand(3, 1, 32, 32), torch.rand(3, 8)
    with torch.no_grad():
        assert torch.allclose(two(pair, code), one(pair[:, :1], code), atol=1e-6)
        assert torch.allclose(other(pair, image), judge(pair[:, :1], image), atol=1e-6)
        moved = pair.roll(1, 0)
        assert not torch.allclose(one(moved[:, :1], code), one(pair[:, :1], code), atol=1e-6)  # it sees the first


def test_mmgan_lays_sources_where_their_contrasts_are() -> None:
    torch.manual_seed(0)
    net = small(MMGANUNet).generator(Columns(2, 4, (0, 3))).eval()
    assert isinstance(net, MMGANGenerator)
    first, last = torch.rand(2, 2, 1, 32, 32)
    code = torch.tensor([[1.0, 0, 1, 0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1, 0, 0, 1, 0]])
    everything = torch.cat([first, torch.full_like(first, -1), torch.full_like(first, -1), last], 1)
    everything[1, 0] = -1  # of the second slice's task, FLAIR is the only source
    with torch.no_grad():
        every = net.translate(everything, torch.ones(4), code)
        found = net(torch.cat([first, last], 1), code)
    torch.testing.assert_close(found, torch.stack([every[0, 1], every[1, 2]])[:, None])


def test_with_one_source_a_discriminator_sees_two_images_and_with_two_three() -> None:
    for sources, inputs in (((), 2), ((0, 1), 3)):
        nets = Method().build(Blueprint(small(ResNet), Columns(2, 3, sources), (T1,), seed=0))
        first = next(net for net in nets["discriminators"].modules() if isinstance(net, nn.Conv2d))
        assert first.in_channels == inputs


# Methods


@pytest.mark.parametrize("method", [FedCycle(), FedMed()])
def test_methods_that_translate_back_refuse(method: Method) -> None:
    message = rf"method {type(method).__name__} translates a target back.*; task T1\+T2->PD has 2: choose a scenario"
    with pytest.raises(ContractError, match=message):
        trainer(method, small(NETWORKS[method.default_network()]), several())


RESUMED: list[tuple[Method, type[Network]]] = [(FedAvg(), ResNet), (PFLSynth(), Personalised), (FedMM(), MMGANUNet)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "network"), RESUMED)
def test_a_run_of_several_sources_resumes_bit_for_bit(method: Method, network: type[Network], tmp_path: Path) -> None:
    start = partial(trainer, method, small(network), several(), seed=1, rounds=3, zoom=1.1, checkpoint_every=1)
    whole = start().run()
    stopped = start(folder=tmp_path)
    stopped.round(1)
    stopped.round(2)
    resumed = start(folder=tmp_path).run()
    assert resumed.digest == whole.digest
    assert resumed.scores == whole.scores
    assert all(np.isfinite(row["psnr"]) for row in whole.scores)


# What is shown and compared


def known(levels: Mapping[str, float]) -> Site:
    """A slice for each split, of the same even levels in [0, 1]."""
    stack = np.empty((3, len(levels), 16, 16), np.float16)
    stack[:] = (2 * np.array(list(levels.values())) - 1)[None, :, None, None]
    subjects = tuple(Subject(split, split, slice(row, row + 1)) for row, split in enumerate(("train", "val", "test")))
    return Site("one", tuple(levels), stack, np.ones((3, 16, 16), bool), subjects)


def test_copying_several_sources_is_copying_their_mean() -> None:
    of = Federation({"one": known({"T1": 0.25, "T2": 0.5, "PD": 0.5})}, {"one": (BOTH, T1)})
    feed = Feed(of, "one", options(), 0, CPU)
    both, alone = (copy_source(feed, task, "test")[0]["psnr"] for task in (BOTH, T1))
    assert both == pytest.approx(-20 * np.log10(0.125), abs=1e-3)  # 0.375 for 0.5
    assert alone == pytest.approx(-20 * np.log10(0.25), abs=1e-3)
    found = {str(row["task"]): row["copy_source"] for row in heterogeneity(of)}
    assert found == {"T1+T2->PD": pytest.approx(both, abs=1e-3), "T1->PD": pytest.approx(alone, abs=1e-3)}


def test_the_gallery_shows_the_first_source() -> None:
    of = Federation({"one": known({"PD": 0.5, "T2": 0.25, "T1": 0.75})}, {"one": (Task.parse("T2+T1->PD"),)})
    run = trainer(FedAvg(), small(ResNet), of)
    shown = run.gallery()["one/T1+T2->PD"]
    assert (shown["source"] == round(255 * 0.75)).all()
    assert (shown["target"] == 128).all()
