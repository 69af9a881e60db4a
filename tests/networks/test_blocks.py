"""What the architectures share: mirrored borders, dropout with its own stream, the start of the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.federation import Columns
from fedsynth.networks import blocks
from fedsynth.networks.blocks import Dropout, Norm, ReflectionPad, initialise, normalisation
from fedsynth.networks.conditioning import Condition, Mapper, PersonalBlock
from fedsynth.networks.network import Generator, Network, Role
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.networks.unet import UNet
from fedsynth.registry import NETWORKS


@pytest.fixture
def repeatable() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("pad", [1, 3])
def test_reflection_has_the_builtins_values_and_gradient_when_it_must_repeat(
    pad: int, repeatable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(6)
    image = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 5 + 2 * pad, 7 + 2 * pad, dtype=torch.float64)
    expected = nn.ReflectionPad2d(pad)(image)
    (slope,) = torch.autograd.grad((expected * weight).sum(), image)
    monkeypatch.setattr(blocks.F, "pad", None)  # the builtin, whose CUDA gradient does not repeat, must not be called
    found = ReflectionPad(pad)(image)
    assert torch.equal(found, expected)
    (found_slope,) = torch.autograd.grad((found * weight).sum(), image)
    torch.testing.assert_close(found_slope, slope, rtol=0, atol=1e-14)


def test_reflection_is_the_builtin_otherwise() -> None:
    image = torch.randn(1, 2, 6, 5)
    assert torch.equal(ReflectionPad(3)(image), nn.ReflectionPad2d(3)(image))


def test_dropout_keeps_the_mean_and_is_off_in_evaluation() -> None:
    layer, image = Dropout(0.3), torch.ones(400, 500)
    layer.generator = torch.Generator().manual_seed(0)
    dropped = layer(image)
    values = dropped.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / 0.7]))
    deviation = (0.3 / 0.7 / image.numel()) ** 0.5  # of the mean of that many Bernoulli draws scaled by 1 / 0.7
    assert abs(dropped.mean().item() - 1) < 4 * deviation
    assert layer.eval()(image) is image
    assert Dropout(0)(image) is image


def test_dropout_draws_from_its_own_stream_alone() -> None:
    layer, image = Dropout(0.5), torch.ones(64, requires_grad=True)
    default = torch.get_rng_state()
    masks = []
    for seed in (1, 1, 2):
        layer.generator = torch.Generator().manual_seed(seed)
        masks.append(layer(image))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(torch.get_rng_state(), default)
    (slope,) = torch.autograd.grad(masks[0].sum(), image)
    assert torch.equal(slope, masks[0].detach())  # of ones: the mask, scaled


def test_dropout_can_be_copied_before_it_has_a_stream() -> None:
    net = ResNet(width=4, blocks=1).generator(Columns(0, 0))
    assert all(module.generator is None for module in copy.deepcopy(net).modules() if isinstance(module, Dropout))


@pytest.mark.parametrize("norm", Norm)
def test_weights_start_as_published(norm: Norm) -> None:
    torch.manual_seed(7)
    net = nn.Sequential(
        nn.Conv2d(64, 64, 3), nn.ConvTranspose2d(64, 64, 3), nn.Linear(200, 200), normalisation(norm, 4096)
    )
    initialise(net)
    for layer in net[:3]:
        assert abs(layer.weight.mean()) < 4 * 0.02 / layer.weight.numel() ** 0.5
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert net[3].weight.mean().item() == pytest.approx(1, abs=4 * 0.02 / 64)
    assert net[3].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(layer.bias.any() for layer in net)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "network", [ResNet(width=16), UNet(width=16), Personalised(width=16)], ids=lambda n: type(n).__name__
)
def test_gradients_repeat_on_cuda(network: Network, repeatable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it matrix products refuse to be deterministic
    net = network.generator(Columns(2, 2)).cuda()
    source, code = torch.randn(1, 1, 64, 64, device="cuda"), torch.eye(6, device="cuda")[:1]
    for module in net.modules():
        if isinstance(module, Dropout):
            module.generator = torch.Generator("cuda")
    found = []
    for _ in range(2):
        for module in net.modules():
            if isinstance(module, Dropout) and module.generator:
                module.generator.manual_seed(0)
        found.append(torch.autograd.grad(net(source, code).square().sum(), list(net.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


# Conditioning


COLUMNS = Columns(3, 3)
READS = {Condition.none: "", Condition.site: "site", Condition.task: "task", Condition.site_task: "site task"}


def build(name: str, condition: Condition) -> Generator:
    torch.manual_seed(0)
    return replace(small(NETWORKS[name]), condition=condition).generator(COLUMNS).eval()


def code(site: int, source: int, target: int) -> torch.Tensor:
    hot = torch.zeros(1, COLUMNS.length)
    hot[0, [site, 3 + source, 6 + target]] = 1
    return hot


@pytest.mark.parametrize("condition", Condition)
@pytest.mark.parametrize("name", NETWORKS.entries())
def test_a_network_reads_what_it_is_told_to(name: str, condition: Condition) -> None:
    net = build(name, condition)
    image = torch.rand(1, 1, 32, 32) * 2 - 1
    base, site, task = (net(image, given) for given in (code(0, 0, 1), code(1, 0, 1), code(0, 0, 2)))
    assert torch.equal(base, site) is ("site" not in READS[condition])
    routes = name == "mmgan_unet"  # its channels are the contrasts, so that it always knows the task
    assert torch.equal(base, task) is ("task" not in READS[condition] and not routes)


@pytest.mark.parametrize("name", NETWORKS.entries())
def test_conditioning_is_the_only_difference(name: str) -> None:
    """The stages start with the same weights whether the code is read or not."""
    plain, told = build(name, Condition.none), build(name, Condition.site_task)
    stages = [[stage for stage in net.stages() if stage.role is not Role.conditioning] for net in (plain, told)]
    for one, other in zip(*stages, strict=True):
        assert one.role is other.role
        pairs = zip(one.module.parameters(), other.module.parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in pairs)
    parts = [type(stage.module) for stage in told.stages() if stage.role is Role.conditioning]
    assert parts[0] is Mapper
    assert set(parts[1:]) == {PersonalBlock}
    assert not any(stage.role is Role.conditioning for stage in plain.stages())


@pytest.mark.parametrize("condition", [Condition.site, Condition.task, Condition.site_task])
def test_the_mapper_has_inputs_for_what_it_reads_alone(condition: Condition) -> None:
    net = build("resnet", condition)
    (mapper,) = (module for module in net.modules() if isinstance(module, Mapper))
    first = next(mapper.parameters())
    assert first.shape[1] == {"site": 3, "task": 6, "site_task": 9}[condition.value]
