"""FedFomo against its paper's weights in numpy; which models are sent, and what of them is counted."""

from __future__ import annotations

from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import federations
from support.federations import federation, resnet
from support.oracles.world import generator_loss

from fedsynth.exchange import Memory, Message
from fedsynth.feed import Batch
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedfomo import FedFomo
from fedsynth.networks.blocks import Norm
from fedsynth.site import SiteState
from fedsynth.step import Pairs
from fedsynth.trainer import Trainer

SITES = ("brats", "ixi", "midas", "oasis")
trainer = partial(federations.trainer, sites=federation(SITES, train=4), rounds=9, validate_every=9, lr=3e-3)


def loss(site: SiteState, model: np.ndarray, buffers: np.ndarray, count: int) -> float:
    """The mean generator loss of a model on the site's batches, in eval mode."""
    generator, judges = site.nets["generator"], site.nets["discriminators"]
    with site.preserved(), site.hook("look"), torch.no_grad():
        site.load(torch.from_numpy(model), torch.from_numpy(buffers))
        values = []
        for batch in site.draw("weights", count):
            fake = generator(batch.source, batch.code)
            values.append(float(generator_loss(judges[str(batch.task)], batch, fake)))
    return float(np.mean(values))


def receive(of: Trainer, site: SiteState) -> None:
    message = of.method.download(of.server, site.name).delivered()
    site.received = message.model
    with site.hook("receive"):
        of.method.receive(site, message)


@pytest.mark.parametrize("norm", [Norm.instance, Norm.batch])
def test_a_site_mixes_by_the_papers_weights(norm: Norm) -> None:
    of = trainer(FedFomo(sample=0.5), network=resnet(norm=norm))
    mixed, ignored = 0, 0
    for round in (1, 2, 3):
        for name, site in of.sites.items():
            if round == 1:
                continue
            site.enter(round)
            others = [other for other in SITES if other != name]
            candidates = [(site.pack().numpy(), site.pack_buffers().numpy())]
            for other in others:
                keys = (f"model of {other}", f"buffers of {other}")
                candidates.append(tuple(of.server.memory.tensor(key).numpy() for key in keys))
            start, start_buffers = (site.memory.tensor(key).numpy().copy() for key in ("start", "start buffers"))
            baseline = loss(site, start, start_buffers, 2)  # half of the 4 batches of 8 slices
            gains = [
                (baseline - loss(site, w, b, 2)) / np.sqrt(np.sum((w.astype(np.float64) - start) ** 2))
                for w, b in candidates
            ]
            weights = np.maximum(gains, 0) / max(np.sum(np.maximum(gains, 0)), 1e-30)
            mixed += int((weights > 0).sum() > 1)
            ignored += int((weights == 0).sum())
            expected = start + sum(x * (w - start) for x, (w, _) in zip(weights, candidates, strict=True))
            expected_buffers = start_buffers + sum(
                x * (b - start_buffers) for x, (_, b) in zip(weights, candidates, strict=True)
            )
            affinity = site.memory.tensor("affinity").numpy().copy()
            with site.preserved():
                receive(of, site)
                np.testing.assert_allclose(site.pack(), expected, atol=3e-5)
                np.testing.assert_allclose(site.pack_buffers(), expected_buffers, rtol=1e-4, atol=3e-5)
                assert torch.equal(site.memory.tensor("start"), site.pack())
                assert site.received is not None
                assert torch.equal(site.received, site.pack())
                added = site.memory.tensor("affinity").numpy() - affinity
            places = [SITES.index(other) for other in others]
            np.testing.assert_allclose(added[places], gains[1:], rtol=1e-2, atol=1e-2)
            assert added[SITES.index(name)] == 0
        of.round(round)
    assert mixed > 0
    assert ignored > 0


@pytest.mark.parametrize("best", ["start", "own"])
def test_models_that_lose_more_are_left_out(best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all others harm, a round that helped is kept, and one that harmed is undone: on a loss that is least at `best`."""
    of = trainer(FedFomo())
    of.round(1)
    site, stream = of.sites["ixi"], torch.Generator().manual_seed(0)
    models = {"start": site.memory.tensor("start").clone(), "own": site.pack()}
    for name in SITES:
        of.server.memory[f"model of {name}"] = models[best] + torch.randn(of.plan.model.numel, generator=stream)

    def objective(self: FedFomo, nets: Any, batch: Batch) -> Pairs:
        yield "generator", (site.pack() - models[best]).square().sum()

    monkeypatch.setattr(FedFomo, "objective", objective)
    site.enter(2)
    receive(of, site)
    assert torch.equal(site.pack(), models[best])
    assert not torch.equal(models["start"], models["own"])
    assert (site.memory.tensor("affinity")[[0, 2, 3]] < 0).all()
    assert site.memory.tensor("affinity")[1] == 0


def server(affinity: list[float], round: int = 0) -> Any:
    names = tuple(f"s{k}" for k in range(len(affinity)))
    memory = Memory()
    memory["round"] = round
    for name in names:
        memory[f"model of {name}"] = torch.zeros(1)
    memory["affinity of s0"] = torch.tensor(affinity)
    return SimpleNamespace(names=names, memory=memory, seed=0)


def test_the_most_helpful_are_sent() -> None:
    for round in range(5):
        assert FedFomo(models=2, epsilon=0.0).choose(server([9, 1, 4, -2, 3], round), "s0") == [2, 4]
        assert FedFomo(models=9, epsilon=0.0).choose(server([9, 1, 4, -2, 3], round), "s0") == [1, 2, 3, 4]


@pytest.mark.parametrize(("epsilon", "decay", "share"), [(0.3, 0.0, 0.7 + 0.3 / 4), (1.0, 0.0, 0.25), (0.3, 1.0, 1.0)])
def test_a_share_is_explored(epsilon: float, decay: float, share: float) -> None:
    rounds = range(1, 801)
    method = FedFomo(models=1, epsilon=epsilon, decay=decay)
    counts = Counter(method.choose(server([0, 1, 4, -2, 3], round), "s0")[0] for round in rounds)
    assert abs(counts[2] / len(rounds) - share) < 0.05
    if share < 1:
        rest = [counts[k] / len(rounds) for k in (1, 3, 4)]
        np.testing.assert_allclose(rest, (1 - share) / 3, atol=0.05)


def test_exploration_ends() -> None:
    method = FedFomo(models=1)  # 0.3 - 0.05 a round
    chosen = {round: method.choose(server([0, 1, 4, -2, 3], round), "s0") for round in range(400)}
    assert {tuple(found) for round, found in chosen.items() if round >= 6} == {(2,)}


def test_equal_ones_are_picked_at_random() -> None:
    counts = Counter(FedFomo(models=1, epsilon=0.0).choose(server([0.0] * 5, k), "s0")[0] for k in range(400))
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) > 70


def test_every_model_that_is_sent_counts_in_the_bytes() -> None:
    of = trainer(FedFomo(models=2))
    of.round(1)
    of.round(2)
    assert of.server.memory["round"] == 2  # by which exploration decays
    n = 4 * of.plan.model.numel
    down = [{row["bytes_down"] for row in of.state.curve if row["round"] == round} for round in (1, 2)]
    assert down == [{n}, {2 * n + 2 * 8}]  # two models, and whose they are
    assert {row["bytes_up"] for row in of.state.curve} == {n + 4 * len(SITES)}  # one, and the affinities


@pytest.mark.parametrize("norm", Norm)
def test_the_first_round_and_a_site_alone_are_fedavgs_to_the_bit(norm: Norm) -> None:
    for sites, rounds in ((SITES, 1), (("ixi",), 3)):
        ours, plain = (
            trainer(method, network=resnet(norm=norm), sites=federation(sites, train=4))
            for method in (FedFomo(), FedAvg())
        )
        for of in (ours, plain):
            for round in range(1, rounds + 1):
                of.round(round)
        for name, site in plain.sites.items():
            for path, tensor in site.tensors.items():
                assert torch.equal(tensor, ours.sites[name].tensors[path]), path


def test_absent_sites_are_sent_by_their_last_model_and_new_ones_mix_from_the_start() -> None:
    of = trainer(FedFomo(), participation=0.5)
    of.round(1)
    present = of.participants(1)
    new = next(name for name in SITES if name not in present)
    message = of.method.download(of.server, new)
    assert message.tensor("who").tolist() == [SITES.index(name) for name in present]
    for row, name in zip(message.model, present, strict=True):
        assert torch.equal(row, of.sites[name].pack())
    site = of.sites[new]
    start = site.pack()
    receive(of, site)
    assert torch.isfinite(site.pack()).all()
    assert not torch.equal(site.pack(), start)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"models": 0}, "method.models is 0; it must be at least 1"),
        ({"epsilon": 1.5}, "method.epsilon is 1.5; it must be from 0 to 1"),
        ({"decay": -0.1}, "method.decay is -0.1; it must be at least 0"),
        ({"sample": 0.0}, "method.sample is 0.0; it must be above 0 and at most 1"),
    ],
)
def test_options_out_of_range_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FedFomo(**given)


def test_a_message_without_other_models_is_the_common_start() -> None:
    of = trainer(FedFomo())
    message = of.method.download(of.server, "ixi")
    assert isinstance(message, Message)
    assert "who" not in message
    assert torch.equal(message.model, of.server.fresh(0)[0])
