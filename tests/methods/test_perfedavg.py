"""Per-FedAvg's phases, its Hessian's product against double backward, and when it is FedAvg."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from torch import Tensor, nn

from fedsynth.feed import Batch
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.perfedavg import PerFedAvg, Variant
from fedsynth.step import Pairs

SIZES = {"brats": 2, "ixi": 4}  # training subjects
ON = resnet(dropout=0.0, blocks=1)
trainer = partial(federations.trainer, network=ON, sites=uneven(SIZES))


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
    of = trainer(Smooth(variant=Variant.hf, alpha=1.0, delta=1e-6))
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
    of = trainer(PerFedAvg(variant=Variant.hf), network=resnet(dropout=0.5, blocks=1))
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
    site = trainer(PerFedAvg(variant=variant), local_steps=steps).sites["ixi"]
    assert [PerFedAvg(variant=variant).phase(site, k) for k in range(steps)] == expected.split()


@pytest.mark.parametrize("variant", Variant)
def test_rounds_of_one_step_are_fedavg_with_equal_weights(variant: Variant) -> None:
    ours, plain = (
        trainer(method, sites=("brats", "ixi"), local_steps=1) for method in (PerFedAvg(variant=variant), FedAvg())
    )
    for of in (ours, plain):
        of.round(1)
        of.round(2)
    assert torch.equal(ours.server.model, plain.server.model)


def test_with_alpha_0_both_variants_move_by_the_same_gradient_as_fedavg() -> None:
    """They only leave out the generator's other steps: a phase that looks moves nothing."""
    moved = {}
    for variant, count in ((Variant.fo, 2), (Variant.hf, 3)):
        of = trainer(PerFedAvg(variant=variant, alpha=0.0), local_steps=count)
        before = of.server.model.clone()
        of.round(1)
        assert {len(of.sites[name].optimizers["generator"].state) > 0 for name in of.sites} == {True}
        steps = {float(entry["step"]) for entry in of.sites["ixi"].optimizers["generator"].state.values()}
        assert steps == {1.0}
        moved[variant] = float((of.server.model - before).abs().max())
    assert all(0 < way < 1.1e-3 for way in moved.values())  # one step of Adam


@pytest.mark.parametrize(("option", "value"), [("alpha", -1.0), ("delta", 0.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be"):
        PerFedAvg(**{option: value})
