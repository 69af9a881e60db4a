"""Architectures: sizes against the published counts, forward passes against straight-line code, and the blocks they share."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from fedsynth.federation import Columns
from fedsynth.networks.blocks import Norm
from fedsynth.networks.mmgan_unet import MMGANUNet
from fedsynth.networks.network import Generator, Network, Role, Stage, check_stages
from fedsynth.networks.personalised import Personalised
from fedsynth.networks.resnet import ResNet
from fedsynth.networks.restormer import Restormer
from fedsynth.networks.unet import UNet

SMALL = [ResNet(width=4, blocks=2), UNet(width=4, pools=2), Personalised(width=4, blocks=2, latent=8)]
EVERY = [*SMALL, MMGANUNet(width=4, pools=2), Restormer(width=4, depths=[1, 1, 1], heads=[1, 2, 2], refinements=1)]
NORMS = (nn.InstanceNorm2d, nn.BatchNorm2d)


def count(*modules: nn.Module, norms: bool = True) -> int:
    return sum(
        p.numel()
        for m in modules
        for part in m.modules()
        for p in part.parameters(recurse=False)
        if norms or not isinstance(part, NORMS)
    )


@pytest.fixture
def repeatable() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


# Sizes


@pytest.mark.parametrize("norm", Norm)
def test_the_discriminator_has_the_published_size(norm: Norm) -> None:
    net = ResNet(norm=norm).discriminator()
    assert count(net) == 2_764_609
    assert net(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)).shape == (
        1,
        1,
        6,
        6,
    )  # 30x30 of 70x70 pixels at 256


def test_the_discriminators_channels_stop_at_eight_times_its_width() -> None:
    net = ResNet(discriminator_width=4, discriminator_layers=5).discriminator()
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [4, 8, 16, 32, 32, 32, 1]


def test_resnet_is_the_released_one_without_its_dead_parameters_and_bias_map() -> None:
    released, second_norms, bias_maps = 11_512_448, 10_496, 2 * 256 * 256
    assert (
        count(ResNet().generator(Columns(0, 0))) == released - second_norms - bias_maps + 1
    )  # one bias instead of a map


def test_unet_has_the_published_size_but_for_affine_norms_and_its_front_is_what_fedmri_shares() -> None:
    net = UNet().generator(Columns(0, 0))
    assert count(net, norms=False) == 7_756_097
    front = [module for role, module in net.stages() if role in (Role.encoder, Role.bottleneck)]
    assert count(*front, norms=False) == 4_709_664


@pytest.mark.parametrize("network", SMALL, ids=lambda network: type(network).__name__)
@pytest.mark.parametrize("norm", Norm)
def test_no_convolution_before_a_normalisation_has_a_bias(network: Network, norm: Norm) -> None:
    generator = copy.copy(network)
    generator.norm = norm
    for net in (generator.generator(Columns(2, 2)), generator.discriminator()):
        parts = [
            part for part in net.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | NORMS[0] | NORMS[1])
        ]
        for part, following in pairwise(parts):
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                assert (part.bias is None) == isinstance(following, NORMS)
        running = [name for name, _ in net.named_buffers() if "running" in name]
        assert bool(running) == (norm is Norm.batch)


# Stages


@pytest.mark.parametrize("network", EVERY, ids=lambda network: type(network).__name__)
@pytest.mark.parametrize("norm", Norm)
def test_every_tensor_lies_in_exactly_one_stage(network: Network, norm: Norm) -> None:
    network = copy.copy(network)
    network.norm = norm
    check_stages(network.generator(Columns(2, 2)))


def test_the_roles_come_in_forward_order() -> None:
    resnet, unet, personalised = (network.generator(Columns(2, 2)).stages() for network in SMALL)
    back = [Role.encoder] * 3 + [Role.bottleneck] * 2 + [Role.decoder] * 2 + [Role.head]
    assert [role for role, _ in resnet] == back
    assert [role for role, _ in unet] == [Role.encoder] * 2 + [Role.bottleneck] + [Role.decoder] * 2 + [Role.head]
    assert [role for role, _ in personalised if role is not Role.conditioning] == back
    assert [role for role, _ in personalised[::2]] == [Role.conditioning] * 8  # the mapper, then a block after each
    assert len(personalised) == 16


@pytest.mark.parametrize("network", SMALL[:2], ids=lambda network: type(network).__name__)
def test_the_stages_are_listed_in_the_order_in_which_they_run(network: Network) -> None:
    net, ran = network.generator(Columns(2, 2)), []
    for _, stage in net.stages():
        stage.register_forward_hook(lambda module, *_: ran.append(module))
    net(torch.zeros(1, 1, 16, 16), torch.zeros(1, 6))
    assert ran == [module for _, module in net.stages()]


class Loose(Generator):
    """One linear layer too many, or a stage listed twice, or one that is not registered."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.known = fault, nn.Linear(1, 1)
        self.extra = nn.BatchNorm1d(1, affine=False) if fault == "missing" else nn.Identity()
        self.foreign = [nn.Linear(1, 1)]

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        return source

    def stages(self) -> list[Stage]:
        more = {"missing": [], "twice": [self.known], "foreign": self.foreign}[self.fault]
        return [Stage(Role.head, module) for module in (self.known, *more)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"Loose: extra\.running_mean lies in 0 stages"),
        ("twice", r"Loose: known\.weight lies in 2 stages \[0, 1\]"),
        ("foreign", r"Loose: stages \[1\] hold tensors that are not the generator's"),
    ],
)
def test_a_tensor_in_no_stage_in_two_or_from_elsewhere_is_named(fault: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_stages(Loose(fault))


# Forward passes


def _normalised(x: Tensor, net: nn.Module) -> Tensor:
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * net.weight[:, None, None] + net.bias[:, None, None]


def _parts(net: nn.Module) -> Iterator[nn.Module]:
    return iter([m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.InstanceNorm2d)])


def _mirror(x: Tensor, pad: int) -> Tensor:
    rows, columns = (
        torch.tensor([abs(i) if i < n else 2 * (n - 1) - i for i in range(-pad, n + pad)]) for n in x.shape[2:]
    )
    return x[:, :, rows][:, :, :, columns]


def test_the_resnet_computes_what_its_description_says() -> None:
    torch.manual_seed(1)
    net = ResNet(width=4, blocks=2, dropout=0.3).generator(Columns(0, 0)).double().eval()
    source = torch.rand(2, 1, 12, 16, dtype=torch.float64) * 2 - 1
    part = _parts(net)
    x = F.relu(_normalised(F.conv2d(_mirror(source, 3), next(part).weight), next(part)))
    for _ in range(2):
        x = F.relu(_normalised(F.conv2d(x, next(part).weight, stride=2, padding=1), next(part)))
    assert x.shape == (2, 16, 3, 4)
    for _ in range(2):
        y = F.relu(_normalised(F.conv2d(_mirror(x, 1), next(part).weight), next(part)))
        x = x + _normalised(F.conv2d(_mirror(y, 1), next(part).weight), next(part))
    for _ in range(2):
        w = next(part).weight
        x = F.relu(_normalised(F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1), next(part)))
    last = next(part)
    x = torch.tanh(F.conv2d(_mirror(x, 3), last.weight, last.bias))
    assert next(part, None) is None
    torch.testing.assert_close(net(source, torch.zeros(2, 0)), x, rtol=0, atol=1e-12)


def test_the_unet_computes_what_its_description_says() -> None:
    torch.manual_seed(2)
    net = UNet(width=4, pools=2).generator(Columns(0, 0)).double().eval()
    source = torch.rand(2, 1, 8, 12, dtype=torch.float64) * 2 - 1
    part = _parts(net)

    def layer(x: Tensor) -> Tensor:
        return F.leaky_relu(_normalised(F.conv2d(x, next(part).weight, padding=1), next(part)), 0.2)

    x, skips = source, []
    for _ in range(2):
        skips.append(layer(layer(x)))
        x = skips[-1].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    x = layer(layer(x))
    assert x.shape == (2, 16, 2, 3)
    for skip in reversed(skips):
        x = F.leaky_relu(_normalised(F.conv_transpose2d(x, next(part).weight, stride=2), next(part)), 0.2)
        x = layer(layer(torch.cat([x, skip], 1)))
    last = next(part)
    x = torch.tanh(F.conv2d(x, last.weight, last.bias))
    assert next(part, None) is None
    torch.testing.assert_close(net(source, torch.zeros(2, 0)), x, rtol=0, atol=1e-12)


def test_the_discriminator_computes_what_its_description_says() -> None:
    torch.manual_seed(3)
    net = ResNet(discriminator_width=4).discriminator().double()
    source, image = torch.rand(2, 2, 1, 32, 40, dtype=torch.float64)
    part = _parts(net)
    first = next(part)
    x = F.leaky_relu(F.conv2d(torch.cat([source, image], 1), first.weight, first.bias, 2, 1), 0.2)
    for stride in (2, 2, 1):
        x = F.leaky_relu(_normalised(F.conv2d(x, next(part).weight, stride=stride, padding=1), next(part)), 0.2)
    last = next(part)
    x = F.conv2d(x, last.weight, last.bias, 1, 1)
    torch.testing.assert_close(net(source, image), x, rtol=0, atol=1e-12)
    assert not torch.allclose(net(image, source), x)


@pytest.mark.parametrize("network", EVERY, ids=lambda network: type(network).__name__)
def test_a_sample_does_not_see_the_others_of_its_batch_and_lands_in_range(network: Network) -> None:
    torch.manual_seed(4)
    net = network.generator(Columns(2, 2)).double().eval()
    source = torch.rand(3, 1, 16, 24, dtype=torch.float64) * 2 - 1
    code = torch.rand(3, 6, dtype=torch.float64)
    together = net(source, code)
    assert together.shape == source.shape
    assert together.abs().max() < 1
    alone = torch.cat([net(source[i : i + 1], code[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_one_seed_gives_the_plain_and_the_personalised_network_the_same_backbone() -> None:
    options = {"width": 4, "blocks": 2}
    states = []
    for network in (ResNet(**options), Personalised(**options, latent=8)):
        torch.manual_seed(5)
        net = network.generator(Columns(2, 2))
        states.append({name: tensor for name, tensor in net.state_dict().items() if name.startswith("backbone")})
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.mark.parametrize(
    ("network", "size", "message"),
    [
        (ResNet(width=4), (30, 32), r"30x32.*multiples of 4"),
        (ResNet(width=4), (4, 64), r"4x64.*at least 8"),
        (SMALL[2], (32, 18), r"32x18.*multiples of 4"),
        (UNet(width=4), (48, 40), r"48x40.*multiples of 16 and at least 32"),
        (UNet(width=4), (16, 16), r"16x16.*at least 32"),
        (EVERY[3], (16, 18), r"16x18.*multiples of 4"),
        (Restormer(width=2, heads=[1, 2, 2, 2]), (16, 20), r"16x20.*multiples of 8 and at least 16"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_and_named(network: Network, size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network.generator(Columns(2, 2))(torch.zeros(1, 1, *size), torch.zeros(1, 6))


@pytest.mark.parametrize("layers", [1, 3])
def test_the_discriminator_takes_its_smallest_image_and_refuses_a_smaller_one(layers: int) -> None:
    net, smallest = ResNet(discriminator_width=4, discriminator_layers=layers).discriminator(), 3 * 2**layers
    image = torch.rand(1, 1, smallest, smallest)
    assert net(image, image).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"{smallest}x{smallest - 1}.*at least {smallest}.*discriminator_layers"):
        net(image[..., 1:], image[..., 1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(width=0), r"network\.width is 0"),
        (lambda: ResNet(blocks=0), r"network\.blocks is 0"),
        (lambda: UNet(pools=-1), r"network\.pools is -1"),
        (lambda: UNet(discriminator_layers=0), r"network\.discriminator_layers is 0"),
        (lambda: Personalised(latent=0), r"network\.latent is 0"),
        (lambda: ResNet(width=4, dropout=1.0).generator(Columns(0, 0)), r"dropout is 1\.0"),
    ],
)
def test_an_impossible_option_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("network", [ResNet, UNet, Personalised, MMGANUNet, Restormer])
def test_the_options_are_what_omegaconf_accepts(network: type[Network]) -> None:
    schema = OmegaConf.structured(network)
    merged = OmegaConf.merge(schema, OmegaConf.from_dotlist(["width=8", "norm=batch"]))
    assert OmegaConf.to_object(merged) == network(width=8, norm=Norm.batch)


@pytest.mark.parametrize("network", EVERY, ids=lambda network: type(network).__name__)
def test_weights_are_drawn_from_torchs_default_generator_alone(network: Network) -> None:
    states = []
    for seed in (8, 8, 9):
        torch.manual_seed(seed)
        states.append(
            nn.utils.parameters_to_vector(
                [*network.generator(Columns(2, 2)).parameters(), *network.discriminator().parameters()]
            )
        )
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
