"""Restormer: its size, its attention and forward pass against numpy, and what its norm option means to methods."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsynth.exchange import Plan
from fedsynth.federation import Columns, Task
from fedsynth.method import Blueprint
from fedsynth.methods.fedbn import FedBN
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Condition, Generator, Role, check_stages
from fedsynth.networks.restormer import Attention, Block, ChannelNorm, FeedForward, Restormer

COLUMNS = Columns(2, 3)


def small(**options: Any) -> Restormer:
    return Restormer(**({"width": 4, "depths": [1, 2, 2], "heads": [1, 2, 4], "refinements": 1, "latent": 8} | options))


def build(**options: Any) -> Generator:
    torch.manual_seed(0)
    return small(**options).generator(COLUMNS)


def test_the_size_is_the_published_one_for_a_channel_in_and_out_instead_of_three() -> None:
    with torch.device("meta"):
        size = sum(p.numel() for p in Restormer().generator(Columns(4, 4)).parameters())
    more = 2 * 9 * 48 + 2 * 9 * 96  # two channels more at both ends
    assert size + more == 26_126_644  # 26.13 M in the paper


def test_the_roles_come_in_forward_order_and_conditioning_stops_before_the_refinement() -> None:
    roles = [Role.encoder] * 2 + [Role.bottleneck] * 2 + [Role.decoder] * 3 + [Role.head]
    assert [role for role, _ in build().stages()] == roles
    conditioned = build(condition=Condition.site_task)
    check_stages(conditioned)
    after = [role for stage in roles[:-2] for role in (stage, Role.conditioning)]
    assert [role for role, _ in conditioned.stages()] == [Role.conditioning, *after, Role.decoder, Role.head]


# --- the parts in numpy ----------------------------------------------------------------------------------------------


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def pointwise(x: np.ndarray, convolution: nn.Module) -> np.ndarray:
    return np.einsum("oc,bchw->bohw", array(convolution.get_parameter("weight"))[:, :, 0, 0], x)


def depthwise(x: np.ndarray, convolution: nn.Module) -> np.ndarray:
    weight, padded = array(convolution.get_parameter("weight"))[:, 0], np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = x.shape[2:]
    taps = [padded[:, :, i : i + h, j : j + w] * weight[:, i, j, None, None] for i in range(3) for j in range(3)]
    return np.sum(taps, axis=0)


def test_attention_is_between_the_channels_of_a_head() -> None:
    torch.manual_seed(1)
    net = Attention(6, 2).double()
    with torch.no_grad():
        net.temperature.copy_(torch.tensor([3.0, -5.0])[:, None, None])
    image = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    seen = depthwise(pointwise(array(image), net.look[0]), net.look[1]).reshape(2, 18, 20)
    expected = np.zeros((2, 6, 20))
    for b in range(2):
        for head in range(2):
            query, key, value = (seen[b, 6 * part + 3 * head : 6 * part + 3 * head + 3] for part in range(3))
            for c in range(3):
                cosines = [query[c] @ k / np.linalg.norm(query[c]) / np.linalg.norm(k) for k in key]
                weights = np.exp(np.array(cosines) * (3.0, -5.0)[head])
                expected[b, 3 * head + c] = weights / weights.sum() @ value
    expected = pointwise(expected.reshape(2, 6, 4, 5), net.out)
    np.testing.assert_allclose(array(net(image)), expected, rtol=0, atol=1e-12)


def test_the_feed_forward_part_is_gated() -> None:
    torch.manual_seed(2)
    net = FeedForward(4, 5).double()
    image = torch.randn(2, 4, 4, 6, dtype=torch.float64)
    hidden = depthwise(pointwise(array(image), net.hidden[0]), net.hidden[1])
    gate = array(F.gelu(torch.from_numpy(hidden[:, :5])))
    np.testing.assert_allclose(array(net(image)), pointwise(gate * hidden[:, 5:], net.out), rtol=0, atol=1e-12)


def test_the_norm_is_of_each_pixels_channels() -> None:
    norm, image = ChannelNorm(4).double(), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = array(image)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    expected = expected * array(norm.weight)[:, None, None] + array(norm.bias)[:, None, None]
    np.testing.assert_allclose(array(norm(image)), expected, rtol=0, atol=1e-12)


def test_a_block_adds_both_parts_to_its_input() -> None:
    torch.manual_seed(3)
    net, image = Block(4, 2, 2.66, Norm.instance), torch.randn(1, 4, 4, 4)
    attended = image + net.attend[1](net.attend[0](image))
    assert torch.equal(net(image), attended + net.feed[1](net.feed[0](attended)))
    assert net.feed[1].out.weight.shape == (4, 10, 1, 1)


def test_it_computes_what_its_description_says() -> None:
    net = build().double()
    source = torch.rand(2, 1, 8, 12, dtype=torch.float64) * 2 - 1
    first, second, bottom, block, low, high, refinement, head = (module for _, module in net.stages())

    def blocks(stage: nn.Module, x: Tensor, start: int) -> Tensor:
        for part in list(stage.children())[start:]:
            x = part(x)
        return x

    def conv(x: Tensor, part: nn.Module) -> Tensor:
        weight = part.get_parameter("weight")
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def down(stage: nn.Module, x: Tensor) -> Tensor:
        return blocks(stage, F.pixel_unshuffle(conv(x, stage.get_submodule("0.0")), 2), 1)

    def up(stage: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([F.pixel_shuffle(conv(x, stage.get_submodule("rise.0")), 2), skip], 1)

    a = blocks(first, conv(source, first.get_submodule("0")), 1)
    b = down(second, a)
    x = block(down(bottom, b))
    assert x.shape == (2, 16, 2, 3)
    x = blocks(low.get_submodule("then"), conv(up(low, x, b), low.get_submodule("then.0")), 1)
    x = blocks(high.get_submodule("then"), up(high, x, a), 0)
    assert x.shape == (2, 8, 8, 12)
    x = torch.tanh(conv(blocks(refinement, x, 0), head.get_submodule("0")))
    torch.testing.assert_close(net(source, torch.zeros(2, COLUMNS.length)), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (40, 8)])
def test_any_image_fits_whose_sides_are_multiples(size: tuple[int, int]) -> None:
    net, code = build(condition=Condition.task), torch.zeros(1, COLUMNS.length)
    assert net(torch.zeros(1, 1, *size), code).shape == (1, 1, *size)
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1] + 2}.*multiples of 4"):
        net(torch.zeros(1, 1, size[0], size[1] + 2), code)


# --- norm ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "kind"), [(Norm.instance, ChannelNorm), (Norm.batch, nn.BatchNorm2d)])
def test_fedbn_keeps_its_norms_whichever_they_are(norm: Norm, kind: type[nn.Module]) -> None:
    nets = FedBN().build(Blueprint(small(norm=norm), COLUMNS, (Task("T1", "T2"),), seed=0))
    plan = Plan(nets, FedBN().travels)
    travelling = {place.path for place in (*plan.model.places, *plan.buffers.places)}
    named = {
        f"generator.{path}.{name}"
        for path, module in nets["generator"].named_modules()
        if isinstance(module, kind)
        for name in ("weight", "bias")
    }
    assert len(named) == 2 * 2 * (1 + 2 + 2 + 2 + 1 + 1)
    assert {path for path, _ in nets["generator"].named_parameters(prefix="generator")} == travelling | named
    assert not travelling & named
    assert bool(list(nets["generator"].buffers())) is (norm is Norm.batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [2], "heads": [1]}, r"network\.depths is \[2\]"),
        ({"depths": [1, 0, 1]}, r"network\.depths is \[1, 0, 1\]"),
        ({"heads": [1, 2]}, r"network\.heads is \[1, 2\].*\[4, 8, 16\]"),
        ({"heads": [1, 3, 4]}, r"network\.heads is \[1, 3, 4\].*\[4, 8, 16\]"),
        ({"heads": [0, 2, 4]}, r"network\.heads is \[0, 2, 4\]"),
        ({"width": 5}, r"network\.width is 5; it must be even"),
        ({"refinements": 0}, r"network\.refinements is 0"),
        ({"expansion": 0.5}, r"network\.expansion is 0\.5"),
    ],
)
def test_an_impossible_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_the_stages_are_listed_in_the_order_in_which_they_run() -> None:
    net, ran = build(condition=Condition.task), list[nn.Module]()
    stages = [module for _, module in net.stages()]
    for stage in stages:
        stage.register_forward_hook(lambda module, *_: ran.append(module))
    net(torch.zeros(1, 1, 8, 8), torch.zeros(1, COLUMNS.length))
    assert ran == stages
    assert all(one is not other for one, other in pairwise(ran))
