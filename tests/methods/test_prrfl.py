"""PRR-FL's aggregation in cases that can be worked out, and how its stage follows from the errors of its two models."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import resnet
from support.oracles.imaging import aggregated
from torch import Tensor, nn

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.methods.local import Local
from fedsynth.methods.prrfl import PRRFL
from fedsynth.networks.blocks import Norm
from fedsynth.networks.unet import UNet
from fedsynth.trainer import Trainer

SITES = ("brats", "ixi", "midas")
UNET = UNet(width=2, pools=2, discriminator_width=4, discriminator_layers=1)  # with transposed convolutions
trainer = partial(federations.trainer, network=resnet(dropout=0.0, width=2), sites=SITES)


# --- the server ------------------------------------------------------------------------------------------------------


def send(of: Trainer, names: tuple[str, ...], seed: int, equal: bool = False) -> dict[str, Tensor]:
    """Upload random models and aggregate; the models."""
    stream, models = torch.Generator().manual_seed(seed), {}
    for name in names:
        drawn = torch.randn(of.plan.model.numel, generator=stream)
        models[name] = next(iter(models.values())).clone() if equal and models else drawn
    none = torch.zeros(of.plan.buffers.numel)
    uploads = {name: Message(model=model.clone(), buffers=none, weight=1) for name, model in models.items()}
    of.method.aggregate(of.server, uploads)
    return models


def parts(of: Trainer, vector: Tensor) -> dict[str, np.ndarray]:
    return {path: of.plan.model.part(vector, path).double().numpy().copy() for path in of.plan.model.offsets}


def test_equal_deputies_stay_as_they_are() -> None:
    of = trainer(PRRFL(), network=UNET)
    models = send(of, SITES, seed=0, equal=True)
    for name in SITES:
        np.testing.assert_allclose(of.method.download(of.server, name).model, models["ixi"], atol=1e-6)


def test_a_window_of_nothing_shares_the_sums() -> None:
    """r = 0 leaves the constant frequency: each site's weight keeps its form, its sum becomes the mean size."""
    of = trainer(PRRFL(window=0.0), rounds=10)
    models = send(of, SITES, seed=0)
    before = {name: parts(of, model) for name, model in models.items()}
    for name in SITES:
        after = parts(of, of.method.download(of.server, name).model)
        for path, weight in after.items():
            if weight.ndim > 1:
                sums = {other: before[other][path].sum() for other in SITES}
                mean = np.sign(sums[name]) * np.mean(np.abs(list(sums.values())))
                change = (mean - sums[name]) / weight.size
                np.testing.assert_allclose(weight, before[name][path] + change, atol=1e-5)


def windowed(weights: list[np.ndarray], share: float, last: int) -> list[np.ndarray]:
    """The aggregated matrices where the shared window is from -share n / 2 to share n / 2, without the `last` of them."""
    spectra = [np.fft.fftshift(np.fft.fft2(weight)) for weight in weights]
    inside = np.zeros(spectra[0].shape, bool)
    (up, down), (left, right) = ((n // 2 - int(n * share / 2), n // 2 + int(n * share / 2)) for n in inside.shape)
    inside[up : down + 1 - last, left : right + 1 - last] = True
    amplitude = np.mean([np.abs(spectrum) for spectrum in spectra], 0)
    mixed = [np.where(inside, amplitude, np.abs(s)) * np.exp(1j * np.angle(s)) for s in spectra]
    return [np.fft.ifft2(np.fft.ifftshift(one)).real for one in mixed]


@pytest.mark.parametrize(
    ("layer", "moved"),
    [
        ((64, 1, 7), (0.09, 0.115)),
        ((256, 256, 3), (0.012, 0.016)),
        ((8, 1, 7), (0.11, 0.13)),
        ((32, 32, 3), (0.03, 0.045)),
    ],
)
def test_how_far_the_released_window_would_move_weights(
    layer: tuple[int, int, int], moved: tuple[float, float]
) -> None:
    """It leaves the last frequency out in both directions and so is not symmetric. Of layers of `resnet` these are the first and
    one of a residual block, at widths 64 and 8; four sites with independent initial weights, at the first and the last share."""
    outputs, inputs, kernel = layer
    stream = np.random.default_rng(0)
    for share in (0.7, 0.95):
        weights = [stream.normal(0, 0.02, (inputs * kernel, kernel * outputs)) for _ in range(4)]
        ours, released = (windowed(weights, share, last) for last in (0, 1))
        norms = [np.linalg.norm(one - other) / np.linalg.norm(one) for one, other in zip(ours, released, strict=True)]
        assert moved[0] < np.mean(norms) < moved[1]
        low_only = aggregated({str(k): w for k, w in enumerate(weights)}, list("0123"), share) if inputs == 1 else {}
        for k, matrix in low_only.items():
            np.testing.assert_allclose(matrix, ours[int(k)], atol=1e-9)


def test_normalisation_stays_and_all_that_travels_is_the_deputys() -> None:
    of = trainer(PRRFL(), network=resnet(width=2, norm=Norm.batch))
    assert of.plan.buffers.numel == 0
    assert {place.net for place in of.plan.model.places} == {"generator"}
    assert not any(isinstance(place.owner, nn.BatchNorm2d) for place in of.plan.model.places)


# --- the site --------------------------------------------------------------------------------------------------------


def test_the_stage_follows_from_the_errors() -> None:
    of = trainer(PRRFL())
    of.round(1)
    site = of.sites["ixi"]
    site.enter(2)
    message = of.method.download(of.server, "ixi").delivered()
    site.received = message.model
    with site.hook("receive"):
        of.method.receive(site, message)
        errors = []
        for net in (site.nets["personal"]["generator"], site.nets["generator"]):
            with torch.no_grad():
                gaps = [(net(b.source, b.code) - b.target).abs().mean() for b in site.draw("stage", 3)]
            errors.append(float(torch.stack(gaps).mean()))
    quality = errors[0] / errors[1]
    assert abs(quality - 1) > 1e-3
    bounds = {"recover": (1.01, 1.1), "exchange": (0.99, 1.01), "sublimate": (0.9, 0.99)}
    for stage, (first, second) in bounds.items():
        of.method.alpha1, of.method.alpha2 = first * quality, second * quality
        with site.preserved(), site.hook("receive"):
            of.method.receive(site, message)
            assert of.method.phase(site, 0) == of.method.phase(site, 2) == stage


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_where_the_deputy_always_recovers_local_training_is_served_to_the_bit(norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    given = {"rounds": 3, "zoom": 1.1}
    ours, plain = (trainer(method, network=on, **given) for method in (PRRFL(alpha1=1e9, alpha2=1e9), Local()))
    assert ours.run().scores == plain.run().scores
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[f"personal.{path}"]), path


def test_what_the_deputy_learned_from_others_reaches_what_is_served() -> None:
    kept, taught = (trainer(PRRFL(alpha1=a, alpha2=a)) for a in (1e9, 0.0))
    for of in (kept, taught):
        of.round(1)
        of.round(2)
    one, other = (of.sites["ixi"].pack("personal") for of in (kept, taught))
    assert float((one - other).abs().max()) > 1e-4


def test_who_never_trained_serves_the_mean_deputy() -> None:
    of = trainer(PRRFL(), participation=0.67)
    of.round(1)
    old, *_ = of.participants(1)
    [new] = set(SITES) - set(of.participants(1))
    models = [of.sites[name].pack() for name in of.participants(1)]
    with serving(of.method, of.server_party.download(new), of.sites[new]):
        for root in ("", "personal"):
            np.testing.assert_allclose(of.sites[new].pack(root), (models[0] + models[1]) / 2, atol=1e-6)
    with serving(of.method, of.server_party.download(old), of.sites[old]):
        assert not torch.equal(*(of.sites[old].pack(root) for root in ("", "personal")))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"alpha1": 0.95}, "method.alpha1 is 0.95; it must be from 0 to method.alpha2, 0.9"),
        ({"window": 0.96}, "method.window is 0.96; it must be from 0 to 0.95"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PRRFL(**given)
