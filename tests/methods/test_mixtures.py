"""Methods that give every site a mixture of its own: FedALA by learned weights, FedAMP by attention."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from support import federations
from support.federations import federation, personalised, resnet
from torch import Tensor

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import Message
from fedsynth.methods import fedala
from fedsynth.methods.fedala import FedALA
from fedsynth.methods.fedamp import FedAMP
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.local import Local
from fedsynth.networks.blocks import Norm
from fedsynth.networks.network import Generator, Network
from fedsynth.networks.unet import UNet
from fedsynth.trainer import Trainer

# FedALA: which layers learn weights, how long, within which bounds, and who has none yet


UNET = UNet(width=4, pools=2, discriminator_width=4, discriminator_layers=1)
PLAIN = resnet(dropout=0.0)
trainer = partial(
    federations.trainer, network=PLAIN, sites=federation(("brats", "ixi"), train=5), rounds=9, validate_every=9
)


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_with_weights_that_stay_1_it_is_fedavg(norm: Norm) -> None:
    on = resnet(norm=norm)
    ours, plain = (trainer(method, network=on, rounds=3) for method in (FedALA(eta=0.0, layers=0), FedAvg()))
    scores = [of.run().scores for of in (ours, plain)]
    assert scores[0] == scores[1]
    assert torch.equal(ours.server.model, plain.server.model)
    assert torch.equal(ours.server.buffers, plain.server.buffers)
    for name, site in ours.sites.items():
        assert (site.memory.tensor("weights") == 1).all()
        assert all(torch.equal(tensor, plain.sites[name].tensors[path]) for path, tensor in site.tensors.items())


def test_weights_stay_between_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "MOST_PASSES", 2)
    of = trainer(FedALA(eta=1e6, layers=0))
    of.round(1)
    of.round(2)
    for site in of.sites.values():
        weights = site.memory.tensor("weights")
        assert (weights.min(), weights.max()) == (0, 1)


def test_a_site_that_has_not_trained_takes_the_global_model() -> None:
    of = trainer(FedALA(), participation=0.5)
    [first] = of.participants(1)
    [other] = set(of.sites) - {first}
    of.round(1)
    for name in (first, other):
        site = of.sites[name]
        with site.preserved(), site.hook("serve"):
            site.load(site.pack() + 0.1)  # a site's own nets are not the server's, trained or not
            of.method.receive(site, of.method.download(of.server, name).delivered())
            assert torch.equal(site.pack(), of.server.model) is (name == other)


@pytest.mark.slow
@pytest.mark.parametrize("on", [resnet(), UNET, personalised()], ids=["resnet", "unet", "personalised"])
@pytest.mark.parametrize("layers", [1, 3, 0])
def test_only_the_top_layers_learn_weights(on: Network, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "MOST_PASSES", 1)
    of = trainer(FedALA(layers=layers), network=on)
    of.round(1)
    of.round(2)
    site = of.sites["ixi"]
    generator = site.nets["generator"]
    assert isinstance(generator, Generator)
    stages = generator.stages()
    backbone = [place for place, (role, _) in enumerate(stages) if role.name != "conditioning"]
    top = {id(p) for _, module in stages[backbone[-layers] if layers else 0 :] for p in module.parameters()}
    learned = []
    for name, p in generator.named_parameters():
        part = of.plan.model.part(site.memory.tensor("weights"), f"generator.{name}")
        if id(p) not in top:
            assert (part == 1).all(), name
        elif p.ndim > 1 and "gate" not in name:  # a hidden unit of a narrow gate may never have been active
            learned.append(bool((part < 1).any()))
    assert learned
    assert all(learned)


def test_learning_ends_though_the_losses_never_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedala, "SPREAD", 0.0)
    monkeypatch.setattr(fedala, "MOST_PASSES", 14)
    of = trainer(FedALA(), local_steps=2)
    for round in (1, 2, 3):
        of.round(round)
    trained = 2 * 2  # steps, of a discriminator and a generator
    counts = {row["round"]: row["gradient_evaluations"] for row in of.state.curve}
    assert counts == {1: trained, 2: trained + 14 * 4, 3: trained + 4}  # 4 batches a pass


# FedAMP against the paper's equations in numpy


SITES = ("brats", "ixi", "midas")
cloud_trainer = partial(federations.trainer, network=resnet(dropout=0.0), sites=SITES)


def uploaded(method: FedAMP, gap: float = 0.01) -> tuple[Trainer, dict[str, np.ndarray]]:
    """A trainer whose server holds models of all sites that differ by about `gap` a parameter, the third by three times that."""
    of, stream = cloud_trainer(method), torch.Generator().manual_seed(0)
    start = of.server.model
    models = {
        name: start + gap * scale * torch.randn(len(start), generator=stream)
        for name, scale in zip(SITES, (1, 1, 3), strict=True)
    }
    send(of, models)
    return of, {name: model.double().numpy() for name, model in models.items()}


def send(of: Trainer, models: dict[str, Tensor]) -> None:
    of.method.aggregate(of.server, {n: Message(model=m, buffers=torch.zeros(0), weight=1) for n, m in models.items()})


def cloud(models: dict[str, np.ndarray], name: str, sigma: float, alpha: float) -> np.ndarray:
    """The paper's u_i = (1 - sum xi_ij) w_i + sum xi_ij w_j with xi_ij = alpha_k A'(|w_i - w_j|^2), A = 1 - exp(-x / sigma)."""
    others = [other for other in models if other != name]
    distances = [np.sum((models[name] - models[other]) ** 2) for other in others]
    weights = [alpha * np.exp(-x / sigma) / sigma for x in distances]
    mixed = sum(xi * models[other] for xi, other in zip(weights, others, strict=True))
    return np.asarray((1 - sum(weights)) * models[name] + mixed)


@pytest.mark.parametrize(("sigma", "alpha"), [(1e-4, 1.0), (1e-3, 0.4)])
def test_the_cloud_models_of_three_sites_are_the_papers(sigma: float, alpha: float) -> None:
    of, models = uploaded(FedAMP(sigma=sigma, alpha=alpha))
    n = of.plan.model.numel
    found = {name: of.method.download(of.server, name).model for name in SITES}
    for name in SITES:
        expected = cloud(models, name, sigma=n * sigma, alpha=alpha * n * sigma / 3)
        np.testing.assert_allclose(found[name], expected, atol=2e-7)
    assert np.abs(found["brats"].double().numpy() - models["brats"]).max() > 0.001  # it is sent something else


def test_who_is_nearer_weighs_more() -> None:
    of, models = uploaded(FedAMP())
    gaps = np.stack([models[other] - models["brats"] for other in ("ixi", "midas")])
    moved = of.method.download(of.server, "brats").model.double().numpy() - models["brats"]
    near, far = np.linalg.lstsq(gaps.T, moved, rcond=None)[0]
    np.testing.assert_allclose([near, far], np.exp(-np.mean(gaps**2, 1) / 1e-4) / 3, rtol=1e-3, atol=1e-6)
    assert near > 20 * far


@pytest.mark.parametrize(("method", "weight"), [(FedAMP(sigma=1e9), 1 / 3), (FedAMP(sigma=1e9, alpha=0.5), 1 / 6)])
def test_a_wide_attention_is_the_mean(method: FedAMP, weight: float) -> None:
    of, models = uploaded(method)
    for name in SITES:
        mean = sum(weight * models[other] for other in SITES if other != name) + (1 - 2 * weight) * models[name]
        np.testing.assert_allclose(of.method.download(of.server, name).model, mean, atol=2e-7)


def test_a_narrow_attention_and_equal_models_leave_a_site_its_own() -> None:
    of, models = uploaded(FedAMP(sigma=1e-9))
    for name in SITES:
        np.testing.assert_array_equal(of.method.download(of.server, name).model.double(), models[name])
    of, _ = uploaded(FedAMP(), gap=0.0)
    for name in SITES:
        assert torch.equal(of.method.download(of.server, name).model, of.server.memory.tensor(f"model of {name}"))


@pytest.mark.slow
@pytest.mark.parametrize("norm", Norm)
def test_without_a_pull_fedamp_is_local_training_to_the_bit(norm: Norm) -> None:
    on = resnet(dropout=0.3, norm=norm)
    ours, plain = (cloud_trainer(method, network=on, rounds=3, zoom=1.1) for method in (FedAMP(lam=0.0), Local()))
    assert ours.run().scores == plain.run().scores
    for name, site in plain.sites.items():
        for path, tensor in site.tensors.items():
            assert torch.equal(tensor, ours.sites[name].tensors[path]), path


def test_a_site_keeps_and_serves_its_own_model_and_one_that_is_new_the_mean() -> None:
    of = cloud_trainer(FedAMP(), network=resnet(norm=Norm.batch), participation=0.67)
    of.round(1)
    [absent] = set(SITES) - set(of.participants(1))
    for name, site in of.sites.items():
        own = site.pack()
        with serving(of.method, of.server_party.download(site.name), site):
            assert torch.equal(site.pack(), of.server.model if name == absent else own)
        assert torch.equal(site.pack(), own)
    own, cloud = of.sites["ixi"].pack(), of.method.download(of.server, "ixi").model
    assert (absent == "ixi") or not torch.equal(own, cloud)
    assert of.plan.buffers.numel == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sigma": 0.0}, "method.sigma is 0.0; it must be above 0"),
        ({"alpha": 0.0}, "method.alpha is 0.0; it must be above 0 and at most 1"),
        ({"alpha": 1.1}, "method.alpha is 1.1"),
        ({"lam": -1.0}, "method.lam is -1.0; it must be at least 0"),
    ],
)
def test_options_of_fedamp_out_of_range_are_refused(given: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FedAMP(**given)
