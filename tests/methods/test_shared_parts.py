"""Methods that share a part of the generator: FedPer, LG-FedAvg and FedRep split it by stages, SiloBN keeps statistics."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import personalised, resnet, uneven
from torch import Tensor, nn

from fedsynth.exchange import ContractError
from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedper import FedPer
from fedsynth.methods.fedrep import FedRep
from fedsynth.methods.lgfedavg import LGFedAvg
from fedsynth.methods.silobn import SiloBN
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Network, Role
from fedsynth.networks.unet import UNet
from fedsynth.trainer import Trainer

# FedPer keeps the end and LG-FedAvg the start


SIZES = {"brats": 2, "ixi": 4}  # training subjects
UNET = UNet(width=4, pools=2, discriminator_width=4, discriminator_layers=1)
NETWORKS = {"resnet": resnet(dropout=0.0), "unet": UNET, "personalised": personalised(dropout=0.0)}
STAGES = {"resnet": 9, "unet": 6, "personalised": 9}
trainer = partial(federations.trainer, network=NETWORKS["resnet"], sites=uneven(SIZES))


def late(generator: Generator, count: int) -> set[str]:
    """Names of what lies in the last `count` stages, each with the conditioning that follows it."""
    stages = generator.stages()
    backbone = [place for place, (role, _) in enumerate(stages) if role is not Role.conditioning]
    held = {id(p) for _, module in stages[backbone[-count] :] for p in module.parameters()} if count else set()
    return {name for name, p in generator.named_parameters() if id(p) in held}


@pytest.mark.parametrize("on", NETWORKS)
@pytest.mark.parametrize("method", [FedPer(), FedPer(head_stages=3), LGFedAvg(), LGFedAvg(share=0.3)], ids=str)
def test_the_generator_is_split_between_two_stages(method: FedAvg, on: str) -> None:
    generator = (of := trainer(method, network=NETWORKS[on])).sites["ixi"].nets["generator"]
    assert isinstance(generator, Generator)
    everything = {name for name, _ in generator.named_parameters()}
    if isinstance(method, FedPer):
        expected = everything - late(generator, method.head_stages)
    else:
        assert isinstance(method, LGFedAvg)
        wanted = {(9, 0.6): 5, (6, 0.6): 4, (9, 0.3): 3, (6, 0.3): 2}  # the nearest whole number of stages
        expected = late(generator, wanted[STAGES[on], method.share])
    assert {path.removeprefix("generator.") for path in of.plan.model.offsets} == expected
    assert 0 < len(expected) < len(everything)


def test_lgfedavg_shares_9_of_the_15_stages_of_the_published_depth() -> None:
    of = trainer(LGFedAvg(), network=resnet(blocks=9))
    slots = {(place.role, place.index) for place in of.plan.model.places}
    assert slots == {(Role.bottleneck, k) for k in range(4, 10)} | {
        (Role.decoder, 1),
        (Role.decoder, 2),
        (Role.head, 1),
    }


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_lgfedavg_always_shares_and_keeps_a_stage(share: float) -> None:
    of = trainer(LGFedAvg(share=share))
    roles = {(place.role, place.index) for place in of.plan.model.places}
    assert roles == {(Role.head, 1)} if share < 0.5 else (Role.encoder, 1) not in roles and (Role.encoder, 2) in roles


@pytest.mark.parametrize("norm", Norm)
def test_without_a_head_fedper_is_fedavg_to_the_bit(norm: Norm) -> None:
    runs = [trainer(method, network=resnet(norm=norm, blocks=1)).run() for method in (FedPer(head_stages=0), FedAvg())]
    assert runs[0].digest == runs[1].digest
    assert runs[0].scores == runs[1].scores


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [(FedPer, "head_stages", -1), (FedRep, "head_stages", 0), (LGFedAvg, "share", 0.0), (LGFedAvg, "share", 1.0)],
)
def test_options_out_of_range_are_refused(method: type[Method], option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be"):
        method(**{option: value})


# FedRep


EVERY = pytest.mark.parametrize("on", NETWORKS.values(), ids=NETWORKS)
pair_trainer = partial(federations.trainer, network=NETWORKS["resnet"], sites=("brats", "ixi"))


def parts(generator: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The head is what the last of the network's modules holds: the convolution that makes the image."""
    *_, last = (module for module in generator.modules() if isinstance(module, nn.Conv2d) and module.out_channels == 1)
    head = list(last.parameters())
    return {"head": head, "body": [p for p in generator.parameters() if all(p is not own for own in head)]}


@pytest.mark.parametrize(
    ("given", "method", "expected"),
    [
        ({"local_steps": 0, "local_epochs": 4}, FedRep(), (9, 3)),  # 6 slices in batches of 2; the paper's: one epoch
        ({"local_steps": 0, "local_epochs": 4}, FedRep(body_epochs=2), (6, 6)),
        ({"local_steps": 0, "local_epochs": 1}, FedRep(), (2, 1)),  # no longer than an epoch: half, rounded down
        ({"local_steps": 5}, FedRep(), (3, 2)),
        ({"local_steps": 10}, FedRep(body_share=0.1), (9, 1)),
        ({"local_steps": 3}, FedRep(body_share=0.1), (2, 1)),  # at least one
        ({"local_steps": 1}, FedRep(), (0, 1)),
    ],
)
def test_heads_train_first_and_bodies_for_their_share(given: Any, method: FedRep, expected: tuple[int, int]) -> None:
    site = pair_trainer(method, **given).sites["ixi"]
    phases = [method.phase(site, k) for k in range(site.steps)]
    assert phases == ["head"] * expected[0] + ["body"] * expected[1]


@EVERY
def test_head_and_body_make_the_generator(on: Network) -> None:
    of = pair_trainer(FedRep(), network=on)
    site = of.sites["ixi"]
    generator = site.nets["generator"]
    assert isinstance(generator, Generator)
    expected = parts(generator)
    for part, parameters in expected.items():
        assert {id(p) for p in site.players[part]} == {id(p) for p in parameters}
    assert all(place.role is not Role.head for place in of.plan.model.places)
    assert "generator" not in site.players


# SiloBN


def silobn_trainer(norm: Norm = Norm.batch, **given: Any) -> Trainer:
    return federations.trainer(SiloBN(), resnet(dropout=0.0, norm=norm, blocks=1), uneven(SIZES), **given)


def close(ours: Tensor, expected: Tensor | np.ndarray, name: str) -> None:
    np.testing.assert_allclose(ours.detach(), expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_site_that_never_trained_takes_its_own_statistics_and_others_keep_theirs() -> None:
    of = silobn_trainer(participation=0.5)
    [present] = of.participants(1)
    [absent] = set(of.sites) - {present}
    of.round(1)
    for name in (present, absent):
        site = of.sites[name]
        with site.preserved(), site.hook("serve"):
            of.method.receive(site, of.method.download(of.server, name).delivered())
            model, before = site.pack(), site.tensors["generator.backbone.0.2.running_mean"].clone()
            of.method.personalise(site)
            assert torch.equal(site.pack(), model)
            norm = site.nets.get_submodule("generator.backbone.0.2")
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            if name == present:
                assert torch.equal(norm.running_mean, before)
                continue
            means, variances = torch.zeros_like(before), torch.ones_like(before)
            for batch in site.draw("statistics", 64):
                padded = nn.functional.pad(batch.source, (3, 3, 3, 3), mode="reflect")
                maps = nn.functional.conv2d(padded, site.tensors["generator.backbone.0.1.weight"])
                means = 0.9 * means + 0.1 * maps.detach().mean((0, 2, 3))
                variances = 0.9 * variances + 0.1 * maps.detach().transpose(0, 1).flatten(1).var(1)
            close(norm.running_mean, means, "mean")
            close(norm.running_var, variances, "variance")


def test_without_running_statistics_it_is_refused_and_the_remedy_named() -> None:
    with pytest.raises(ContractError, match=r"generator of the network ResNet has none; set network\.norm=batch"):
        silobn_trainer(Norm.instance)
