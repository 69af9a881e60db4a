"""pFLSynth's generator: its published size, its forward pass against numpy, and whether the code moves the output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from fedsynth.federation import Columns
from fedsynth.networks.conditioning import EqualisedLinear, Init, Mapper, PersonalBlock
from fedsynth.networks.network import Norm, Role
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet, ResNetGenerator

SITES = CONTRASTS = 4
SMALL = {"width": 8, "blocks": 3, "latent": 32}


def code(site: int, source: int, target: int) -> Tensor:
    hot = torch.zeros(1, SITES + 2 * CONTRASTS)
    hot[0, [site, SITES + source, SITES + CONTRASTS + target]] = 1
    return hot


CHANGED = {"site": code(1, 0, 1), "source": code(0, 2, 1), "target": code(0, 0, 3)}


def build(seed: int = 0, **options: object) -> ResNetGenerator:
    torch.manual_seed(seed)
    net = Personalised(**options).generator(Columns(SITES, CONTRASTS))
    assert isinstance(net, ResNetGenerator)
    return net.eval()


@pytest.fixture(scope="module")
def full() -> ResNetGenerator:
    return build()


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


# Size


def test_the_published_size_and_what_of_it_travels(full: ResNetGenerator) -> None:
    assert count(full) == 15_986_817
    backbone = [module for role, module in full.stages() if role is not Role.conditioning]
    mappers = [module for _, module in full.stages() if isinstance(module, Mapper)]
    assert len(backbone) == 15
    assert count(*mappers) == 1_319_936
    assert count(*backbone[8:], *mappers) == 6_414_785


def test_the_personalisation_blocks_have_their_published_sizes(full: ResNetGenerator) -> None:
    sizes = [count(module) for _, module in full.stages() if isinstance(module, PersonalBlock)]
    assert sizes == [70_272, 141_568] + [287_232] * 10 + [141_568, 70_272]


def test_the_rest_is_the_plain_network(full: ResNetGenerator) -> None:
    rest = count(full) - count(*(module for role, module in full.stages() if role is Role.conditioning))
    assert rest == count(ResNet().generator(Columns(0, 0)))


# Forward pass, in numpy


def _windows(x: np.ndarray, size: int, step: int) -> np.ndarray:
    return sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::step, ::step]


def _convolved(x: np.ndarray, weight: np.ndarray, step: int = 1) -> np.ndarray:
    return np.einsum("bchwij,ocij->bohw", _windows(x, weight.shape[-1], step), weight)


def _raised(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A transposed convolution of stride 2 as it is defined: every input pixel lays down its kernel, one pixel is cropped."""
    b, _, h, w = x.shape
    canvas = np.zeros((b, weight.shape[1], 2 * h + 2, 2 * w + 2))
    for i in range(h):
        for j in range(w):
            canvas[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("bc,coij->boij", x[:, :, i, j], weight)
    return canvas[:, :, 1 : 2 * h + 1, 1 : 2 * w + 1]


def _mirror(x: np.ndarray, pad: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")


def _whitened(x: np.ndarray) -> np.ndarray:
    return (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)


def _along(values: np.ndarray) -> np.ndarray:
    return values[..., None, None]


def _forward(state: dict[str, np.ndarray], x: np.ndarray, hot: np.ndarray, blocks: int) -> np.ndarray:
    """The published forward pass. Weights are taken in the order of their names' families, which the test checks are all used."""
    backbone: Iterator[np.ndarray] = iter([v for k, v in state.items() if k.startswith("backbone")])
    personal: Iterator[np.ndarray] = iter([v for k, v in state.items() if k.startswith("personal")])
    mapper: Iterator[np.ndarray] = iter([v for k, v in state.items() if k.startswith("mapper")])

    latent = hot
    for _ in range(6):
        weight, bias = next(mapper), next(mapper)
        y = latent @ weight.T * 0.01 * np.sqrt(2 / weight.shape[1]) + 0.01 * bias
        latent = np.where(y > 0, y, 0.2 * y)

    def affine(x: np.ndarray) -> np.ndarray:
        return _whitened(x) * _along(next(backbone)) + _along(next(backbone))

    def personalised(x: np.ndarray) -> np.ndarray:
        weight, bias, first, second = (next(personal) for _ in range(4))
        style = latent @ weight.T / np.sqrt(weight.shape[1]) + bias
        s, b = np.split(style, 2, axis=1)
        gate = 1 / (1 + np.exp(-np.maximum(latent @ first.T, 0) @ second.T))
        return _along(gate) * ((1 + _along(s)) * _whitened(x) + _along(b))

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    x = personalised(relu(affine(_convolved(_mirror(x, 3), next(backbone)))))
    for _ in range(2):
        x = personalised(relu(affine(_convolved(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), next(backbone), 2))))
    for _ in range(blocks):
        y = relu(affine(_convolved(_mirror(x, 1), next(backbone))))
        x = personalised(x + affine(_convolved(_mirror(y, 1), next(backbone))))
    for _ in range(2):
        x = personalised(relu(affine(_raised(x, next(backbone)))))
    x = np.tanh(_convolved(_mirror(x, 3), next(backbone)) + _along(next(backbone)))
    assert not [*backbone, *personal, *mapper], "weights were left over"
    return x


def test_the_forward_pass_is_the_published_one_with_a_code_for_each_sample() -> None:
    net = build(seed=1, width=8, blocks=2, latent=16).double()
    for name, parameter in net.named_parameters():  # biases start at 0, where a wrong multiplier would not show
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    source = torch.rand(2, 1, 12, 16, dtype=torch.float64) * 2 - 1
    hot = torch.cat([code(0, 0, 1), code(2, 3, 1)]).double()
    state = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    expected = _forward(state, source.numpy(), hot.numpy(), blocks=2)
    found = net(source, hot).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_the_mapper_runs_once_a_forward() -> None:
    net, runs = build(**SMALL), []
    net.mapper.register_forward_hook(lambda *_: runs.append(1))
    net(torch.zeros(1, 1, 16, 16), code(0, 0, 1))
    assert len(runs) == 1


# What the latent says


@pytest.mark.parametrize(
    "options", [{}, SMALL | {"width": 32}], ids=["full", "small"]
)  # 4 hidden units: not all are off
@pytest.mark.parametrize("changed", CHANGED)
def test_a_block_gives_each_channel_the_mean_and_deviation_of_the_latent_then_gates_it(
    options: dict[str, int], changed: str
) -> None:
    net = build(**options).double()
    block = net.personal[0]
    assert isinstance(block, PersonalBlock)
    maps = torch.randn(2, net.backbone[0][1].out_channels, 24, 32, dtype=torch.float64) * 50 + 300
    latent = net.mapper(torch.cat([code(0, 0, 1), CHANGED[changed]]).double())
    linear = block.adain.style
    style = latent @ linear.weight.T / linear.weight.shape[1] ** 0.5 + linear.bias
    s, b = style[:, : maps.shape[1]], style[:, maps.shape[1] :]
    gate = block.gate.gate(latent)

    normalised = block.adain(maps, latent)
    assert torch.allclose(normalised.mean((2, 3)), b, rtol=0, atol=1e-10)
    # the 1e-5 that the normalisation adds to a variance of 2500 is 4e-9 of it
    assert torch.allclose(normalised.std((2, 3), unbiased=False), (1 + s).abs(), rtol=1e-8, atol=0)

    gated = block(maps, latent)
    assert bool(((gate > 0) & (gate < 1)).all())
    assert torch.allclose(gated.mean((2, 3)), gate * b, rtol=0, atol=1e-10)
    assert torch.allclose(gated.std((2, 3), unbiased=False), gate * (1 + s).abs(), rtol=1e-8, atol=0)

    for what in (s, b, gate):
        assert (what[0] - what[1]).abs().max() > 1e-3 * what.std(), f"not a matter of the {changed}"


# Initialisation


def _moves(net: ResNetGenerator) -> dict[str, float]:
    """How far each change of the code moves the output, root mean square, in standard deviations of the output."""
    source = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before = net(source, code(0, 0, 1))
        return {
            name: float((net(source, hot) - before).square().mean().sqrt() / before.std())
            for name, hot in CHANGED.items()
        }


@pytest.mark.parametrize("options", [{}, SMALL], ids=["full", "small"])
def test_the_code_moves_the_output_from_the_start_unless_initialised_as_released(options: dict[str, int]) -> None:
    moves = {init: _moves(build(init=init, **options)) for init in Init}
    assert min(moves[Init.designed].values()) > 1e-2
    assert max(moves[Init.released].values()) < 1e-7
    for name in CHANGED:
        assert 1e-2 < moves[Init.scaled][name] < moves[Init.designed][name]


def test_each_initialisation_draws_the_equalised_layers_as_it_says() -> None:
    def equalised(init: Init) -> tuple[list[Tensor], list[Tensor]]:
        net = build(init=init, width=32, blocks=1, latent=128)
        layers = [m for m in net.modules() if isinstance(m, EqualisedLinear)]
        assert not any(bool(layer.bias.any()) for layer in layers)
        return [m.weight for m in layers[:6]], [m.weight for m in layers[6:]]

    mapper, style = equalised(Init.designed)
    assert all(abs(w.std().item() / 100 - 1) < 0.1 for w in mapper)
    assert all(abs(w.std().item() - 1) < 0.1 for w in style)
    same, scaled = equalised(Init.scaled)
    assert all(torch.equal(a, b) for a, b in zip(mapper, same, strict=True))
    assert all(torch.equal(a * 0.3, b) for a, b in zip(style, scaled, strict=True))
    assert all(abs(w.std().item() / 0.02 - 1) < 0.1 for part in equalised(Init.released) for w in part)


@pytest.mark.parametrize("init", Init)
def test_gates_and_convolutions_start_at_the_published_deviation(init: Init) -> None:
    net = build(init=init, width=64, blocks=1, latent=128)
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            few = 6 / (2 * module.weight.numel()) ** 0.5  # six standard errors of a standard deviation
            assert module.weight.std().item() == pytest.approx(0.02, rel=few)


def test_a_gate_keeps_a_hidden_unit_where_channels_are_few() -> None:
    assert PersonalBlock(4, 16).gate.gate[0].weight.shape == (1, 16)
    assert PersonalBlock(64, 16).gate.gate[0].weight.shape == (8, 16)


@pytest.mark.parametrize("init", [Init.designed, Init.scaled])
def test_every_part_of_the_conditioning_gets_a_gradient(init: Init) -> None:
    net = build(init=init, **SMALL | {"width": 32})
    codes = torch.cat([code(0, 0, 1), *CHANGED.values()])
    net(torch.rand(4, 1, 16, 16) * 2 - 1, codes).mean().backward()
    for name, parameter in net.named_parameters():
        if not name.startswith("backbone"):
            assert parameter.grad is not None
            assert parameter.grad.any(), name


def test_at_a_batch_of_1_instance_norm_is_the_released_batch_norm_in_training_mode() -> None:
    """The released code trains and serves so. Image and gradient are the same to rounding, in float64 here."""
    instance = build(width=8, blocks=3, latent=32, dropout=0.0, norm=Norm.instance).double()
    batch = build(seed=1, width=8, blocks=3, latent=32, dropout=0.0, norm=Norm.batch).double().train()
    missing = batch.load_state_dict(instance.state_dict(), strict=False).missing_keys
    assert {name.rpartition(".")[2] for name in missing} == {"running_mean", "running_var", "num_batches_tracked"}
    source = torch.rand(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = [net(source, code(0, 0, 1).double()) for net in (instance, batch)]
    assert (images[0] - images[1]).abs().max() < 1e-12
    for image in images:
        image.square().sum().backward()
    for (name, one), other in zip(instance.named_parameters(), batch.parameters(), strict=True):
        assert one.grad is not None, name
        assert other.grad is not None, name
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-10, msg=name)
