"""The switchable U-Net: its size against the released class, its forward pass, and that its image may be bright or dark."""

from __future__ import annotations

from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedsynth.federation import Columns
from fedsynth.networks.conditioning import AdaIN, Mapper, PersonalBlock
from fedsynth.networks.network import Generator, Role, check_stages
from fedsynth.networks.switchable_unet import SwitchableUNet
from fedsynth.networks.unet import UNet, UNetGenerator, unet_channels, unet_stages

COLUMNS = Columns(2, 3)
NORMS = (nn.InstanceNorm2d, nn.BatchNorm2d)


def code(site: int = 0, source: int = 0, target: int = 1) -> Tensor:
    hot = torch.zeros(1, COLUMNS.length)
    hot[0, [site, COLUMNS.sites + source, COLUMNS.sites + COLUMNS.contrasts + target]] = 1
    return hot


def build(seed: int = 0, network: UNet | None = None) -> UNetGenerator:
    torch.manual_seed(seed)
    return cast(UNetGenerator, (network or SwitchableUNet(width=4, pools=2, latent=8)).generator(COLUMNS))


def test_the_size_is_the_released_ones_but_for_the_code_and_affine_norms() -> None:
    released, mapper = 9_991_235, 264_192  # of a code of two columns
    for image_adain in (True, False):
        net = SwitchableUNet(image_adain=image_adain).generator(Columns(4, 4))
        sizes = {
            kind: sum(p.numel() for m in net.modules() if isinstance(m, kind) for p in m.parameters())
            for kind in (Mapper, AdaIN, NORMS)
        }
        assert sizes[Mapper] == mapper + 6 * 512
        whole = sum(p.numel() for p in net.parameters()) - sizes[NORMS]
        assert whole == released + 6 * 512 - (0 if image_adain else 2 * 513)


@pytest.mark.parametrize("image_adain", [False, True])
def test_there_are_the_released_thirteen_adain_layers_or_all_but_the_images(image_adain: bool) -> None:
    """As many channels as the released class has in each place, in the order in which they run."""
    net = SwitchableUNet(image_adain=image_adain).generator(Columns(4, 4))
    found = [m.adain.style.bias.numel() // 2 for _, m in net.stages() if isinstance(m, PersonalBlock) and m.adain]
    down, bottom, up = [32, 64, 128, 256], [512], [256, 256, 128, 128, 64, 64, 32]  # risen, merged, ..., risen
    assert found == down + bottom + up + [1] * image_adain
    assert len(found) == 12 + image_adain


def test_each_decoder_has_adain_after_its_transposed_convolution_and_nothing_is_gated() -> None:
    net = build()
    check_stages(net)
    roles = [role for role, _ in net.stages()]
    pairs = [role for stage in (Role.encoder, Role.encoder, Role.bottleneck) for role in (stage, Role.conditioning)]
    decoders = [Role.decoder, Role.conditioning, Role.conditioning, Role.decoder, Role.conditioning]
    assert roles == [Role.conditioning, *pairs, *decoders, Role.head]
    assert [type(m).__name__ for m in net.modules()].count("ChannelGate") == 0


@pytest.mark.parametrize("image_adain", [False, True])
def test_it_computes_what_its_description_says(image_adain: bool) -> None:
    net = build(network=SwitchableUNet(width=4, pools=2, latent=8, image_adain=image_adain)).double()
    source = torch.rand(2, 1, 8, 12, dtype=torch.float64) * 2 - 1
    codes = torch.cat([code(0, 0, 1), code(1, 2, 0)]).double()
    latent = codes[:, COLUMNS.sites :]
    for layer in net.get_submodule("mapper.layers").children():
        latent = F.leaky_relu((latent @ layer.weight.T * layer.scale) + layer.bias * layer.multiplier, 0.2)

    def styled(block: str, image: Tensor) -> Tensor:
        style = net.get_submodule(f"{block}.adain.style")
        s, b = (latent @ style.weight.T * style.scale + style.bias).view(2, 2, -1).unbind(1)
        centred = image - image.mean((2, 3), keepdim=True)
        deviation = (image.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
        return centred / deviation * (s + 1)[:, :, None, None] + b[:, :, None, None]

    first, second, bottom, up, last, (convolution, _) = net.backbone
    a = styled("personal.0", first(source))
    b = styled("personal.1", second(F.avg_pool2d(a, 2)))
    x = styled("personal.2", bottom(F.avg_pool2d(b, 2)))
    x = styled("personal.3", up.merge(torch.cat([styled("inner.0", up.rise(x)), b], 1)))
    x = convolution(last.merge(torch.cat([styled("inner.1", last.rise(x)), a], 1)))
    image = styled("inner.2", x) if image_adain else x
    torch.testing.assert_close(net(source, codes), image.tanh(), rtol=0, atol=1e-12)


def test_the_direction_changes_the_image_and_the_site_does_not() -> None:
    net, source = build(), torch.rand(1, 1, 16, 16) * 2 - 1
    there, back = net(source, code(0, 0, 1)), net(source, code(0, 1, 0))
    assert (there - back).abs().max() > 1e-3
    assert torch.equal(there, net(source, code(1, 0, 1)))


# --- brightness and contrast -----------------------------------------------------------------------------------------


def discs() -> Tensor:
    """Slices with more and more bright tissue."""
    line = torch.linspace(-1, 1, 16)
    radius = (line[:, None] ** 2 + line**2).sqrt()
    return torch.stack([(radius < r).float() for r in (0.2, 0.4, 0.6, 0.9)])[:, None] * 2 - 1


def flawed() -> UNetGenerator:
    """As released: the image gets the mean and deviation that the latent asks for."""
    return build(network=SwitchableUNet(width=4, pools=2, latent=8, image_adain=True))


def too_late() -> UNetGenerator:
    """AdaIN after the last decoder, too: every channel of the head's input has the mean that the latent asks for."""
    network = SwitchableUNet(width=4, pools=2, latent=8)
    torch.manual_seed(0)
    return UNetGenerator(unet_stages(4, 2, network.norm), network.conditioning(COLUMNS, unet_channels(4, 2)))


def statistics(net: Generator) -> tuple[float, float]:
    """How far mean and deviation of the image before tanh spread over the discs, relative to the deviation."""
    image = torch.atanh(net(discs(), code().expand(4, -1)).double())
    means, deviations = image.mean((1, 2, 3)), image.std((1, 2, 3))
    return float(means.std() / deviations.mean()), float(deviations.std() / deviations.mean())


@torch.no_grad()
def test_mean_and_deviation_of_the_image_follow_the_slice() -> None:
    mean, deviation = statistics(build())
    assert mean > 0.02
    assert deviation > 0.02
    assert max(statistics(flawed())) < 0.002
    assert statistics(too_late())[0] < 1e-6


def error_after_learning(net: Generator) -> float:
    """Mean error of each slice's brightness when the target is even, and the darker, the more tissue there is."""
    sources = discs()
    targets = torch.tensor([0.6, 0.2, -0.2, -0.6])[:, None, None, None].expand_as(sources)
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(120):
        images = net(sources, code().expand(4, -1))
        adam.zero_grad()
        (images - targets).abs().mean().backward()
        adam.step()
    return float((images - targets).mean((1, 2, 3)).abs().mean().detach())


@pytest.mark.slow
def test_it_learns_a_brightness_that_depends_on_the_slice_better_than_the_flawed_one() -> None:
    assert error_after_learning(build()) < 0.07
    assert error_after_learning(flawed()) > 0.1


@pytest.mark.parametrize("option", ["condition", "gate"])
def test_the_options_that_make_it_switchable_can_be_overridden(option: str) -> None:
    plain = UNet(width=4, pools=2, latent=8)
    value = getattr(plain, option)
    assert getattr(SwitchableUNet(**{option: value}), option) == value != getattr(SwitchableUNet(), option)
