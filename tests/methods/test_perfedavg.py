"""Per-FedAvg against its two updates in plain torch, the Hessian's product against double backward, and its phases."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet, uneven
from support.plain import generator_loss, judge_loss
from torch import Tensor, nn

from fedsynth.evaluation.evaluate import serving
from fedsynth.feed import Batch
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.perfedavg import PerFedAvg, Variant
from fedsynth.runtime.optimizers.adam import Adam
from fedsynth.runtime.optimizers.sgd import SGD
from fedsynth.site import SiteState
from fedsynth.step import Pairs

SIZES = {"brats": 2, "ixi": 4}  # training subjects
ON = resnet(dropout=0.0, blocks=1)
DESCENT = {"optimizer": SGD(), "lr": 5e-5}  # larger steps diverge on so small a net
trainer = partial(federations.trainer, network=ON, sites=uneven(SIZES))


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


class Oracle:
    """One site's local steps by the paper's equations, on copies of the nets."""

    def __init__(self, site: SiteState, method: PerFedAvg, make: Callable[[Any], torch.optim.Optimizer]) -> None:
        nets = deepcopy(site.nets)
        self.generator, self.judges, self.feed, self.method = (
            nets["generator"],
            nets["discriminators"],
            site.feeds[site.name],
            method,
        )
        self.mover = make(self.generator.parameters())
        self.movers = {str(task): make(self.judges.get_submodule(str(task)).parameters()) for task in site.tasks}

    def at(self, way: Tensor) -> nn.Module:
        """A copy of the generator, moved."""
        there = deepcopy(self.generator)
        nn.utils.vector_to_parameters(flat(there.parameters()) + way, there.parameters())
        return there

    def slope(self, net: nn.Module, batch: Batch) -> Tensor:
        judge = self.judges.get_submodule(str(batch.task))
        loss = generator_loss(judge, batch, net(batch.source, batch.code))
        return flat(torch.autograd.grad(loss, list(net.parameters())))

    def judge(self, net: nn.Module, batch: Batch) -> None:
        judge = self.judges.get_submodule(str(batch.task))
        judge.zero_grad()
        judge_loss(judge, batch, net(batch.source, batch.code)).backward()  # type: ignore[no-untyped-call]
        self.movers[str(batch.task)].step()

    def move(self, gradient: Tensor) -> None:
        start = 0
        for p in self.generator.parameters():
            p.grad = gradient[start : start + p.numel()].view(p.shape).clone()
            start += p.numel()
        self.mover.step()

    def train(self, round: int) -> None:
        batches = [draw.make() for draw in self.feed.train(round)]
        alpha, delta, period = self.method.alpha, self.method.delta, 2 + (self.method.variant is Variant.hf)
        while batches:
            if len(batches) < period:
                [batch, *batches] = batches
                self.judge(self.generator, batch)
                self.move(self.slope(self.generator, batch))
                continue
            first, second, *batches = batches
            self.judge(self.generator, first)
            there = self.at(-alpha * self.slope(self.generator, first))
            self.judge(there, second)
            v = self.slope(there, second)
            if self.method.variant is Variant.hf:
                third, *batches = batches
                self.judge(self.generator, third)
                product = (self.slope(self.at(delta * v), third) - self.slope(self.at(-delta * v), third)) / (2 * delta)
                v = v - alpha * product
            self.move(v)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        (PerFedAvg(), {"local_steps": 5}),
        (PerFedAvg(alpha=1e-3), {"local_steps": 4} | DESCENT),
        (PerFedAvg(variant=Variant.hf), {"local_steps": 7} | DESCENT),
        (PerFedAvg(variant=Variant.hf, alpha=5e-5, delta=2e-5), {"local_steps": 5} | DESCENT),
    ],
    ids=str,
)
def test_two_rounds_are_the_papers_with_equal_weights(method: PerFedAvg, given: dict[str, Any]) -> None:
    of = trainer(method, **given)
    adam, rate = isinstance(of.options.optimizer, Adam), of.options.lr

    def make(parameters: Any) -> torch.optim.Optimizer:
        return (
            torch.optim.Adam(parameters, rate, (0.5, 0.999), fused=True)
            if adam
            else torch.optim.SGD(parameters, rate, fused=True)
        )

    sites = {name: Oracle(site, method, make) for name, site in of.sites.items()}
    for round in (1, 2):
        of.round(round)
        for site in sites.values():
            for mover in (site.mover, *site.movers.values()):
                mover.param_groups[0]["lr"] = rate * of.options.rate(round)
            site.train(round)
        models = [flat(site.generator.parameters()) for site in sites.values()]
        for name, model in zip(sites, models, strict=True):
            np.testing.assert_allclose(of.sites[name].pack(), model, rtol=1e-4, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(of.server.model, sum(models) / 2, rtol=1e-4, atol=2e-6)
        assert not torch.allclose(models[0], models[1], atol=2e-5)
        for site in sites.values():
            nn.utils.vector_to_parameters(of.server.model.clone(), site.generator.parameters())


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


def test_every_site_serves_one_gradient_step_from_the_common_model() -> None:
    of = trainer(PerFedAvg(alpha=1e-3))
    of.round(1)
    for site in of.sites.values():
        site.enter(1)
        [batch] = site.draw("adapt", 1)
        generator = deepcopy(site.nets["generator"])
        nn.utils.vector_to_parameters(of.server.model.clone(), generator.parameters())
        judge = site.nets.get_submodule(f"discriminators.{batch.task}")
        loss = generator_loss(judge, batch, generator(batch.source, batch.code))
        gradient = flat(torch.autograd.grad(loss, list(generator.parameters())))
        with serving(of.method, of.server, site):
            np.testing.assert_allclose(site.pack(), of.server.model - 1e-3 * gradient, rtol=1e-5, atol=1e-7)
        assert float(gradient.norm()) > 1


@pytest.mark.parametrize(("option", "value"), [("alpha", -1.0), ("delta", 0.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"method\.{option} is {value}; it must be"):
        PerFedAvg(**{option: value})  # type: ignore[arg-type]
