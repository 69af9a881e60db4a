"""Methods close to FedAvg: FedGAN, fine-tuning before serving, and FedDecorr's term."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, trainer, uneven

from fedsynth.evaluation.evaluate import serving
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.feddecorr import FedDecorr, by_pixel, correlation
from fedsynth.methods.fedgan import FedGAN
from fedsynth.methods.finetune import Finetune

# FedGAN


SIZES = {"brats": 2, "ixi": 5, "midas": 3}  # training subjects; their tasks differ but for T1->T2
gan_trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=uneven(SIZES))


def test_a_discriminator_that_nobody_present_has_stays_as_it_was() -> None:
    of = gan_trainer(FedGAN(), participation=0.34, rounds=9)
    for round in range(1, 6):
        [present] = of.participants(round)
        before = of.server.model
        of.round(round)
        own = {str(task) for task in of.sites[present].tasks}
        for place in of.plan.model.places:
            if place.task is not None and place.task not in own:
                one, other = (of.plan.model.part(v, place.path) for v in (before, of.server.model))
                assert torch.equal(one, other), place.path
        held = [path for path in of.plan.model.offsets if path in of.sites[present].held]
        for path in held:  # one site alone: its own, to the bit
            assert torch.equal(of.plan.model.part(of.server.model, path), of.sites[present].tensors[path])


@pytest.mark.parametrize("name", SIZES)
def test_all_of_a_sites_nets_travel(name: str) -> None:
    site = gan_trainer(FedGAN()).sites[name]
    assert site.held == {path for path, _ in site.nets.named_parameters()}


# Fine-tuning before serving: plain FedAvg and FedBABU, whose head learns only then


ONE_BLOCK = resnet(dropout=0.0, blocks=1)
pair_trainer = partial(federations.trainer, network=ONE_BLOCK, sites=("brats", "ixi"))


def test_fine_tuning_changes_what_is_served_and_nothing_else() -> None:
    runs = {steps: pair_trainer(Finetune(steps=steps), rounds=1).run() for steps in (0, 3)}
    plain = pair_trainer(FedAvg(), rounds=1).run()
    assert runs[0].scores == plain.scores
    assert runs[0].digest == runs[3].digest == plain.digest
    assert runs[3].scores != plain.scores


def test_without_fine_tuning_fedbabu_serves_the_random_head() -> None:
    of = pair_trainer(FedBABU(steps=0))
    of.round(1)
    site = of.sites["ixi"]
    with serving(of.method, of.server_party.download(site.name), site):
        assert torch.equal(site.pack(), of.server.model)


@pytest.mark.parametrize(
    ("method", "option", "value"), [(Finetune, "steps", -1), (FedBABU, "steps", -1), (FedBABU, "head_stages", 0)]
)
def test_steps_and_stages_out_of_range_are_refused(method: type[FedAvg], option: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be at least"):
        method(**{option: value})


# FedDecorr against numpy's correlation matrix; its three rounds are an oracle's


def test_the_term_is_the_mean_squared_correlation_of_channels() -> None:
    stream = np.random.default_rng(0)
    maps = stream.normal(size=(2, 5, 4, 3)) @ stream.normal(size=(3, 3)) + stream.normal(size=(1, 5, 1, 1))
    maps[:, 1] = 0.8 * maps[:, 0] + 0.2 * maps[:, 1]
    matrix = np.corrcoef(np.moveaxis(maps, 1, 0).reshape(5, -1))
    found = correlation(by_pixel(torch.from_numpy(maps)))
    assert float(found) == pytest.approx((matrix**2).mean(), rel=1e-5)
    assert float(found) > 1.5 / 5  # the diagonal alone has 1/5


def test_constant_channels_have_no_gradient_that_is_not_finite() -> None:
    maps = torch.randn(1, 4, 3, 3)
    maps[:, 0] = 2.0
    maps.requires_grad_()
    correlation(by_pixel(maps)).backward()
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()


def test_without_a_weight_it_is_fedavg_to_the_bit_and_with_one_features_decorrelate() -> None:
    ends, terms = [], []
    for method in (FedDecorr(beta=0.0), FedAvg(), FedDecorr(beta=1.0)):
        of = trainer(method, resnet(dropout=0.0), ("ixi",), local_steps=30, rounds=1)
        of.round(1)
        ends.append(of.server.model.clone())
        site = of.sites["ixi"]
        [batch] = site.draw("look", 1)
        seen: list[torch.Tensor] = []
        stages = [module for role, module in site.nets["generator"].stages() if role.name == "bottleneck"]
        handle = stages[-1].register_forward_hook(lambda _, __, maps, seen=seen: seen.append(maps))
        with torch.no_grad():
            site.answer(batch)
        handle.remove()
        terms.append(float(correlation(by_pixel(seen[0]))))
    assert torch.equal(ends[0], ends[1])
    assert terms[2] < terms[1]


def test_an_impossible_weight_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.beta is -1"):
        FedDecorr(beta=-1)
