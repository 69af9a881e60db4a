"""FedMed-GAN against its equations in plain torch: two generators, what travels, and what its privacy does to gradients."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import torch
from support import federations
from support.federations import in_float64, reversed_code, squares_to_one, uneven
from support.oracles.world import distance
from support.probes import facts
from torch import Tensor, nn

from fedsynth.benchmarks.contract.toy import small
from fedsynth.feed import Batch
from fedsynth.methods import fedmed
from fedsynth.methods.fedcycle import Losses
from fedsynth.methods.fedmed import FedMed, Sanitiser
from fedsynth.registry import NETWORKS
from fedsynth.trainer import Trainer

SIZES = {"brats": 2, "ixi": 5}  # training subjects
trainer = partial(federations.trainer, network=small(NETWORKS["unet"]), sites=uneven(SIZES))


def first(of: Trainer) -> tuple[nn.ModuleDict, Batch]:
    """The nets and the first batch of a site, in float64."""
    site = of.sites["ixi"]
    site.enter(1)
    return site.nets.double().train(), in_float64(site.schedule()[0].make())


@pytest.mark.parametrize("losses", Losses)
def test_the_losses_are_the_released_ones(losses: Losses) -> None:
    of = trainer(FedMed(losses=losses))
    nets, batch = first(of)
    task, back, other = str(batch.task), reversed_code(of, batch), cast(Batch, batch.second)
    g, f = nets["generator"], nets["generator_back"]
    d_y, d_x = nets["discriminators"][task], nets["discriminators_back"][task]
    x, y = batch.source, other.target
    fake_y, fake_x = g(x, batch.code), f(y, back)
    judged = (
        squares_to_one(d_y(y, y))
        + squares_to_one(d_x(x, x))
        + (d_y(fake_y, fake_y) ** 2).mean()
        + (d_x(fake_x, fake_x) ** 2).mean()
    ) / 2
    loss = squares_to_one(d_y(fake_y, fake_y)) + squares_to_one(d_x(fake_x, fake_x))
    if losses is not Losses.paired:
        loss = loss + 10 * (distance(f(fake_y, back), x) + distance(g(fake_x, batch.code), y))
        loss = loss + 10 * (distance(g(fake_y, batch.code), fake_y) + distance(f(fake_x, back), fake_x))
    if losses is not Losses.unpaired:
        loss = loss + 100 * (distance(fake_y, batch.target) + distance(fake_x, other.source))
    (_, told), (players, found) = of.method.objective(nets, batch)
    assert players == ("generator", "generator_back")
    torch.testing.assert_close(told, judged, rtol=1e-10, atol=0)
    torch.testing.assert_close(found, loss, rtol=1e-10, atol=0)


def test_the_generators_start_differently_and_each_has_an_optimiser() -> None:
    site = trainer(FedMed()).sites["ixi"]
    there, back = (nn.utils.parameters_to_vector(site.nets[n].parameters()) for n in ("generator", "generator_back"))
    assert not torch.equal(there, back)
    assert {"generator", "generator_back"} <= site.optimizers.keys()


# --- privacy ---------------------------------------------------------------------------------------------------------


def sanitised(gradient: Tensor, seed: int) -> Tensor:
    """min(1, (1/B) / |g_i|) g_i + N(0, (2.14 / B)^2), with the noise drawn before."""
    count = len(gradient)
    noise = torch.randn(gradient.shape, dtype=gradient.dtype, generator=torch.Generator().manual_seed(seed))
    norms = [float(slice_.norm()) or 1.0 for slice_ in gradient]
    clipped = [slice_ * min(1.0, 1 / count / norm) for slice_, norm in zip(gradient, norms, strict=True)]
    return torch.stack(clipped) + noise * 1.07 * 2 / count


def test_the_gradient_that_comes_back_is_clipped_and_noised() -> None:
    module = Sanitiser().train()
    module.generator = torch.Generator().manual_seed(3)
    image = torch.rand(4, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    size = torch.tensor([1e-3, 1.0, 30.0, 0.0], dtype=torch.float64)[:, None, None, None]  # some below the bound
    slope = torch.rand(image.shape, dtype=torch.float64) * size
    passed = module(image)
    assert torch.equal(passed, image)
    ((passed * slope).sum() + 5 * image.sum()).backward()
    assert (slope.flatten(1).norm(dim=1) < 0.25).tolist() == [True, False, False, True]
    torch.testing.assert_close(image.grad, sanitised(slope, 3) + 5, rtol=1e-6, atol=1e-9)


def test_its_noise_has_the_published_deviation() -> None:
    module = Sanitiser().train()
    image = torch.zeros(2, 1, 256, 256, requires_grad=True)
    module.generator = torch.Generator().manual_seed(0)
    (module(image) * 0).sum().backward()
    assert image.grad is not None
    assert float(image.grad.std()) == pytest.approx(1.07 * 2 / 2, rel=0.01)


def gradients(of: Trainer) -> tuple[Tensor, dict[str, Tensor]]:
    nets, batch = first(of)
    for module in nets.modules():
        if isinstance(module, Sanitiser):
            assert module.generator is not None  # the site's, set by the trainer
            module.generator.manual_seed(1)
    (_, told), (_, loss) = of.method.objective(nets, batch)
    judges = torch.cat([p.flatten() for p in torch.autograd.grad(told, judges_of(nets, batch))])
    names = [name for name, _ in nets.named_parameters() if name.startswith("generator")]
    slopes = torch.autograd.grad(loss, [nets.get_parameter(name) for name in names])
    return judges, dict(zip(names, slopes, strict=True))


def judges_of(nets: nn.ModuleDict, batch: Batch) -> list[nn.Parameter]:
    return [p for kind in ("discriminators", "discriminators_back") for p in nets[kind][str(batch.task)].parameters()]


def test_only_what_a_discriminator_tells_a_generator_is_sanitised() -> None:
    private, plain, mute = (trainer(m) for m in (FedMed(privacy=True), FedMed(), FedMed(adversarial=0.0)))
    nets, batch = first(private)
    judges, found = gradients(private)
    same, expected = gradients(plain)
    assert torch.equal(judges, same)
    # the forward generator: the gradient of the other losses, and the image's own gradient by D sent through the generator
    site = mute.sites["ixi"]
    site.enter(1)
    others = dict(mute.method.objective(site.nets.double().train(), batch))[("generator", "generator_back")]
    params = dict(site.nets["generator"].named_parameters())
    rest = torch.autograd.grad(others, list(params.values()))
    judge = nets["discriminators"][str(batch.task)]
    image = nets["generator"](batch.source, batch.code)
    seen = image.detach().requires_grad_()
    (slope,) = torch.autograd.grad(squares_to_one(judge(seen, seen)), seen)
    told = torch.autograd.grad(image, list(nets["generator"].parameters()), sanitised(slope, 1))
    for name, one_rest, one_told in zip(params, rest, told, strict=True):
        torch.testing.assert_close(found[f"generator.{name}"], one_rest + one_told, rtol=1e-6, atol=1e-9)
        assert not torch.allclose(found[f"generator.{name}"], expected[f"generator.{name}"])


def test_in_a_discriminators_own_pass_its_images_have_no_gradient_that_the_released_hook_could_take() -> None:
    """That code hangs its hook on a discriminator when the generators have moved, and takes the shape of that gradient."""
    nets, batch = first(trainer(FedMed()))
    told = list[bool]()
    nets["discriminators"][str(batch.task)].register_forward_pre_hook(
        lambda _, images: told.extend(image.requires_grad for image in images)
    )
    pairs = FedMed().objective(nets, batch)
    next(pairs)
    assert told
    assert not any(told)
    told.clear()
    next(pairs)
    assert told
    assert all(told)


def test_without_bound_and_noise_privacy_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedmed, "CLIP", 1e30)
    monkeypatch.setattr(fedmed, "NOISE", 0.0)
    (_, ours), (_, plain) = (gradients(trainer(FedMed(privacy=privacy))) for privacy in (True, False))
    for name, slope in plain.items():
        torch.testing.assert_close(ours[name], slope, rtol=1e-9, atol=1e-12)


def test_its_noise_is_the_sites_stream_and_comes_again_when_resumed(tmp_path: Path) -> None:
    whole = trainer(FedMed(privacy=True), rounds=2).run()
    torch.manual_seed(5)
    trainer(FedMed(privacy=True), folder=tmp_path, rounds=2).round(1)
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert facts(trainer(FedMed(privacy=True), folder=tmp_path, rounds=2).run()) == facts(whole)


def test_it_passes_images_untouched_outside_training() -> None:
    module = deepcopy(Sanitiser()).eval()
    image = torch.rand(2, 1, 4, 4, requires_grad=True)
    assert module(image) is image
    assert module.train()(image.detach()).requires_grad is False
