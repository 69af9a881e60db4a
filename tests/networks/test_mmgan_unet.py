"""MM-GAN's U-Net: its size against pFLSynth's class, what stands for missing contrasts, and the two ways to ask it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from support.federations import trainer
from support.probes import facts
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.federation import Columns
from fedsynth.methods.fedavg import FedAvg
from fedsynth.networks.mmgan_unet import Fill, Imputation, JointPatchGAN, MMGANGenerator, MMGANUNet
from fedsynth.networks.network import Condition, check_stages
from fedsynth.networks.unet import UNet

COLUMNS = Columns(2, 3)
NORMS = (nn.InstanceNorm2d, nn.BatchNorm2d)


def build(**given: Any) -> MMGANGenerator:
    torch.manual_seed(0)
    return cast(MMGANGenerator, MMGANUNet(**({"width": 4, "pools": 2, "latent": 8} | given)).generator(COLUMNS))


def code(*tasks: tuple[int, int], site: int = 0) -> Tensor:
    hot = torch.zeros(len(tasks), COLUMNS.length)
    for row, (source, target) in enumerate(tasks):
        hot[row, [site, COLUMNS.sites + source, COLUMNS.sites + COLUMNS.contrasts + target]] = 1
    return hot


def test_the_size_is_that_of_pflsynths_class_of_two_contrasts_but_for_affine_norms() -> None:
    with torch.device("meta"):
        net = MMGANUNet().generator(Columns(4, 2))
    affine = sum(p.numel() for m in net.modules() if isinstance(m, NORMS) for p in m.parameters())
    assert sum(p.numel() for p in net.parameters()) - affine == 7_756_418


def test_it_is_the_unet_on_the_source_in_its_channel_and_gives_the_targets() -> None:
    net = build().double()
    source, tasks = torch.rand(2, 1, 8, 12, dtype=torch.float64) * 2 - 1, [(1, 2), (0, 1)]
    images = torch.full((2, 3, 8, 12), -1.0, dtype=torch.float64)
    images[0, 1], images[1, 0] = source[0, 0], source[1, 0]
    plain = UNet(width=4, pools=2).generator(COLUMNS).double()
    plain.backbone = net.backbone
    every = plain(images, code(*tasks))
    assert torch.equal(net(source, code(*tasks)), torch.stack([every[0, 2], every[1, 1]])[:, None])


def test_many_contrasts_may_be_given_and_the_others_are_not_read() -> None:
    net, images = build(), torch.rand(2, 3, 8, 8) * 2 - 1
    every = net.translate(images, torch.tensor([1.0, 0.0, 1.0]), code((0, 1), (0, 1)))
    assert every.shape == images.shape
    changed = images.clone()
    changed[:, 1] = torch.nan
    rows = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert torch.equal(net.translate(changed, rows, code((0, 1), (0, 1))), every)
    changed[:, 2] += 0.1
    assert not torch.allclose(net.translate(changed, rows, code((0, 1), (0, 1))), every, atol=1e-4)
    single = net.translate(images, torch.tensor([0.0, 0.0, 1.0]), code((2, 0), (2, 1)))
    asked = net(images[:, 2:], code((2, 0), (2, 1)))
    assert torch.equal(asked[:, 0], torch.stack([single[0, 0], single[1, 1]]))


def test_what_is_missing_is_filled_in() -> None:
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    given = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[:, :, None, None]
    background = Imputation(Fill.background)(images, given)
    average = Imputation(Fill.average)(images, given)
    imputation = Imputation(Fill.noise)
    imputation.generator = torch.Generator().manual_seed(3)
    noise = imputation.eval()(images, given)
    for filled in (background, average, noise):
        assert torch.equal(filled * given, images * given)
    assert bool((background[0, 1] == -1).all())
    assert bool((background[1, [0, 2]] == -1).all())
    torch.testing.assert_close(average[0, 1], (images[0, 0] + images[0, 2]) / 2)
    torch.testing.assert_close(average[1, 2], images[1, 1])
    expected = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(noise[0, 1], expected[0, 0])
    assert torch.equal(noise[1, 0], expected[1, 0])
    assert torch.equal(noise[1, 2], expected[1, 0])


@pytest.mark.parametrize("condition", Condition)
def test_it_can_read_the_code_as_every_network(condition: Condition) -> None:
    net = build(condition=condition)
    check_stages(net)
    images, given = torch.rand(1, 3, 8, 8), torch.ones(3)
    here, task, site = (net.translate(images, given, c) for c in (code((0, 1)), code((0, 2)), code((0, 1), site=1)))
    assert torch.equal(here, task) is (condition in (Condition.none, Condition.site))
    assert torch.equal(here, site) is (condition in (Condition.none, Condition.task))


@pytest.mark.parametrize("fill", Fill)
def test_another_method_trains_on_it_and_repeats_exactly(fill: Fill) -> None:
    network = small(MMGANUNet)
    assert isinstance(network, MMGANUNet)
    network.fill = fill
    runs = [trainer(FedAvg(), network, ("ixi",)).run() for _ in range(2)]
    assert facts(runs[0]) == facts(runs[1])
    assert len(runs[0].curve) == 2


def test_the_joint_discriminator_scores_every_contrast_and_sees_all_of_both() -> None:
    network = MMGANUNet(discriminator_width=4, discriminator_layers=2)
    net = JointPatchGAN(network, 3)
    pair = network.discriminator()
    more = 16 * 4 * 4 + 2 * (16 * 16 + 1)  # four channels more at the front, two scores more at the end
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in pair.parameters()) + more
    true, images = torch.rand(2, 1, 3, 16, 16)
    true.requires_grad_()
    images.requires_grad_()
    scores = net(true, images)
    assert scores.shape[:2] == (1, 3)
    for channel in range(3):
        for seen in torch.autograd.grad(scores[:, channel].sum(), (true, images), retain_graph=True):
            assert bool((seen.abs().sum((0, 2, 3)) > 0).all())
    torch.manual_seed(1)
    weights = [p for p in JointPatchGAN(network, 3).parameters() if p.dim() == 4]
    assert all(0.01 < float(weight.detach().std()) < 0.03 for weight in weights)
