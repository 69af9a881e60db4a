"""The one split by stages of which FedPer keeps the end and LG-FedAvg the start."""

from __future__ import annotations

from functools import partial

import pytest
from support import federations
from support.federations import personalised, resnet, uneven

from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedper import FedPer
from fedsynth.methods.fedrep import FedRep
from fedsynth.methods.lgfedavg import LGFedAvg
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Role
from fedsynth.networks.unet import UNet

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
