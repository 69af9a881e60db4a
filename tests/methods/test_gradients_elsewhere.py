"""Methods that take their gradient at another point than the one they move: Per-FedAvg and FedSAM."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from support import federations
from support.federations import resnet, trainer, uneven
from torch import Tensor, nn

from fedsynth.feed import Batch
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedsam import FedSAM
from fedsynth.methods.perfedavg import PerFedAvg, Variant, moved
from fedsynth.step import Pairs

# Per-FedAvg


SIZES = {"brats": 2, "ixi": 4}  # training subjects
ON = resnet(dropout=0.0, blocks=1)
uneven_trainer = partial(federations.trainer, network=ON, sites=uneven(SIZES))


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


class Smooth(PerFedAvg):
    """A loss without kinks, in which the discriminator has no part."""

    def objective(self, nets: Any, batch: Batch) -> Pairs:
        yield "generator", 100 * ((nets["generator"](batch.source, batch.code) - batch.target) ** 2).mean()


def smoothed(net: nn.Module) -> None:
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Tanh())


def test_the_difference_of_gradients_is_the_hessians_product() -> None:
    of = uneven_trainer(Smooth(variant=Variant.hf, alpha=1.0, delta=1e-6))
    site = of.sites["ixi"]
    smoothed(site.nets["generator"])
    [batch] = site.draw("test", 1)
    parameters = list(site.nets["generator"].parameters())
    [(_, loss)] = of.method.objective(site.nets, batch)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    v = flat(gradients)
    product = flat(torch.autograd.grad(torch.cat([g.flatten() for g in gradients]) @ v, parameters))
    site.memory["gradient"] = v
    assert isinstance(of.method, PerFedAvg)
    found = v - of.method.corrected(site, batch)
    assert float((found - product).norm() / product.norm()) < 0.02
    assert float(product.norm() / v.norm()) > 1


def test_dropout_does_not_enter_the_hessians_product() -> None:
    of = uneven_trainer(PerFedAvg(variant=Variant.hf), network=resnet(dropout=0.5, blocks=1))
    site = of.sites["ixi"]
    [batch] = site.draw("test", 1)
    method = of.method
    assert isinstance(method, PerFedAvg)
    site.memory["gradient"] = torch.ones_like(site.pack())
    site.nets.train()
    assert torch.equal(method.corrected(site, batch), method.corrected(site, batch))
    assert site.nets.training


@pytest.mark.parametrize(
    ("variant", "steps", "expected"),
    [
        (Variant.fo, 5, "look apply look apply plain"),
        (Variant.fo, 1, "plain"),
        (Variant.hf, 8, "look probe correct look probe correct plain plain"),
        (Variant.hf, 2, "plain plain"),
    ],
)
def test_only_whole_updates_begin(variant: Variant, steps: int, expected: str) -> None:
    site = uneven_trainer(PerFedAvg(variant=variant), local_steps=steps).sites["ixi"]
    assert [PerFedAvg(variant=variant).phase(site, k) for k in range(steps)] == expected.split()


@pytest.mark.parametrize("variant", Variant)
def test_rounds_of_one_step_are_fedavg_with_equal_weights(variant: Variant) -> None:
    ours, plain = (
        uneven_trainer(method, sites=("brats", "ixi"), local_steps=1)
        for method in (PerFedAvg(variant=variant), FedAvg())
    )
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)


def test_with_alpha_0_both_variants_move_by_the_same_gradient_as_fedavg() -> None:
    """They only leave out the generator's other steps: a phase that looks moves nothing."""
    moved = {}
    for variant, count in ((Variant.fo, 2), (Variant.hf, 3)):
        of = uneven_trainer(PerFedAvg(variant=variant, alpha=0.0), local_steps=count)
        before = of.server.model.clone()
        of.round(1)
        assert {len(of.sites[name].optimizers["generator"].state) > 0 for name in of.sites} == {True}
        steps = {float(entry["step"]) for entry in of.sites["ixi"].optimizers["generator"].state.values()}
        assert steps == {1.0}
        moved[variant] = float((of.server.model - before).abs().max())
    assert all(0 < way < 1.1e-3 for way in moved.values())  # one step of Adam


@pytest.mark.parametrize(("option", "value"), [("alpha", -1.0), ("delta", 0.0)])
def test_options_of_perfedavg_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be"):
        PerFedAvg(**{option: value})


# FedSAM, whose three rounds are an oracle's


def test_without_a_radius_fedsam_is_fedavg() -> None:
    ends = []
    for method in (FedSAM(rho=0.0), FedAvg(), FedSAM(rho=0.1)):
        of = trainer(method, resnet(dropout=0.0), ("ixi", "oasis"))
        of.round(1)
        ends.append(of.server.model.clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-6)
    assert float((ends[2] - ends[1]).abs().max()) > 1e-5


def test_fedsam_looks_where_the_loss_rises() -> None:
    of = trainer(FedSAM(rho=0.05), resnet(dropout=0.0), ("ixi",))
    site = of.sites["ixi"]
    [batch] = site.draw("look", 1)
    here = dict(of.method.objective(site.nets, batch))["generator"]
    slope = site.slope("generator", here)
    there = dict(of.method.objective(moved(site, 0.05 * slope / slope.norm()), batch))["generator"]
    assert float(there.detach()) > float(here.detach())
    *_, (player, loss) = of.method.step(site, batch)
    assert player == "generator"
    assert float(loss.detach()) == pytest.approx(float(there.detach()), rel=1e-5)


def test_a_step_of_fedsam_takes_one_more_backward_pass() -> None:
    passes = []
    for method in (FedSAM(), FedAvg()):
        of = trainer(method, sites=("ixi",), local_steps=4)
        of.round(1)
        passes.append(of.state.costs.gradient_evaluations)
    assert passes == [12, 8]


def test_an_impossible_radius_is_named() -> None:
    with pytest.raises(ValueError, match=r"method\.rho is -1"):
        FedSAM(rho=-1)
