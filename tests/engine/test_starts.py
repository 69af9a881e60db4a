"""Where sites start: from weights of their own or common ones; newcomers, from what they are sent and the common start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import TASKS, personalised, resnet, site, trainer, uneven

from fedsynth.exchange import ContractError
from fedsynth.federation import Conditions, Federation, FederationError, Task
from fedsynth.method import Method
from fedsynth.methods.fedadam import FedAdam
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedavgm import FedAvgM
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.feddyn import FedDyn
from fedsynth.methods.fedgan import FedGAN
from fedsynth.methods.fednova import FedNova
from fedsynth.methods.ifca import IFCA
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.resnet import ResNet
from fedsynth.runtime.options import ServerRule
from fedsynth.trainer import Trainer

# Starts of one's own


SIZES = {"brats": 1, "ixi": 3, "midas": 2}  # subjects, of two slices each


def own(method: Method, straggle: float = 0.0, **options: Any) -> Trainer:
    """Two of the three sites take part in a round."""
    sites = replace(uneven(SIZES), conditions=Conditions(straggle=straggle))
    small = resnet(blocks=1, dropout=0.0)
    return trainer(method, small, sites, **({"common_start": False, "participation": 0.6, "rounds": 8} | options))


def followed(of: Trainer, round: int) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """A round; site -> where its model began, where it ended, and its number of slices."""
    began: dict[str, np.ndarray] = {}
    ended: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
    receive, aggregate = of.method.receive, of.method.aggregate

    def received(site, message):
        receive(site, message)
        if site.at_work:  # and not to be scored
            began[site.name] = site.pack().double().numpy()

    def aggregated(server, uploads):
        for name, upload in uploads.items():
            ended[name] = (began[name], upload.model.double().numpy(), server.samples[name])
        aggregate(server, uploads)

    of.method.receive, of.method.aggregate = received, aggregated
    of.round(round)
    of.method.receive, of.method.aggregate = receive, aggregate
    return ended


def averaged(
    rows: dict[str, tuple[np.ndarray, np.ndarray, float]], equal: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the starts, and the mean of what the sites learnt."""
    weights = [1.0 if equal else samples for _, _, samples in rows.values()]
    starts, changes = zip(*((start, end - start) for start, end, _ in rows.values()), strict=True)
    return np.average(starts, axis=0, weights=weights), np.average(changes, axis=0, weights=weights)


def test_the_servers_first_model_is_the_mean_of_the_starts_of_those_who_arrive() -> None:
    of = own(FedAvg())
    model = of.server.model.numpy().copy()
    rows = followed(of, 1)
    assert len(rows) == 2
    start, change = averaged(rows)
    np.testing.assert_allclose(of.server.model, start + change, atol=1e-7)
    assert not np.allclose(model, start, atol=1e-3)
    [late] = set(of.sites) - set(rows)
    while late not in of.participants(of.state.round + 1):
        of.round(of.state.round + 1)
    sent = of.server.model.clone()
    assert np.array_equal(followed(of, of.state.round + 1)[late][0], sent.double().numpy())


def test_feddyns_h_is_the_mean_of_what_the_sites_learnt() -> None:
    of = own(FedDyn())
    start, change = averaged(followed(of, 1), equal=True)
    h = 2 / 3 * change
    np.testing.assert_allclose(of.server.memory.tensor("h"), h, atol=1e-7)
    np.testing.assert_allclose(of.server.model, start + change + h, atol=1e-7)


def test_fedavgms_momentum_is_of_what_the_sites_learnt() -> None:
    of = own(FedAvgM())
    start, first = averaged(followed(of, 1))
    begun, second = averaged(followed(of, 2))
    np.testing.assert_allclose(begun, start + first, atol=1e-7)
    np.testing.assert_allclose(of.server.model, begun + 0.9 * first + second, atol=1e-7)


def test_fedadam_moves_by_what_the_sites_learnt() -> None:
    of = own(FedAdam())
    start, change = averaged(followed(of, 1))
    m, v = 0.1 * change, 0.99 * 1e-6 + 0.01 * change**2
    np.testing.assert_allclose(of.server.model, start + 0.01 * m / (np.sqrt(v) + 1e-3), atol=1e-6)


def test_fednova_normalises_what_the_sites_learnt() -> None:
    of = own(FedNova(), straggle=0.99, local_steps=9)
    rows = followed(of, 1)
    steps = np.array([of.participants.steps(name, 9, 1) for name in rows])
    assert len(set(steps)) == 2
    shares = np.array([samples for _, _, samples in rows.values()]) / sum(samples for _, _, samples in rows.values())
    start, _ = averaged(rows)
    learnt = [(end - begun) / taken for (begun, end, _), taken in zip(rows.values(), steps, strict=True)]
    np.testing.assert_allclose(of.server.model, start + shares @ steps * np.average(learnt, 0, shares), atol=1e-6)


def test_the_nets_of_a_start_are_made_once_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    of, made = own(FedNova()), []
    site = of.sites["ixi"]
    start = site.start
    monkeypatch.setattr(site, "start", lambda: made.append(site.name) or start())
    of.server_party.meet({name: site.start for name, site in of.sites.items()})
    for _ in range(2):
        assert torch.equal(of.server.began("ixi"), of.plan.model.pack(dict(start().named_parameters())))
    assert made == ["ixi"]


def test_a_tensor_that_few_sites_have_starts_from_these() -> None:
    of = own(FedGAN())
    of.server_party.meet({name: site.start for name, site in of.sites.items()})
    path = "discriminators.T2->PD.body.0.weight"
    assert torch.equal(of.plan.model.part(of.server.model, path), of.sites["ixi"].tensors[path])


@pytest.mark.parametrize(
    ("method", "options", "why"),
    [
        (IFCA(), {}, "the server of method IFCA sends several models"),
        (FedBABU(), {}, "method FedBABU needs weights that are the same at every site"),
        (FedAvg(), {"server_rule": ServerRule.krum}, "trainer.server_rule=krum compares models"),
    ],
)
def test_what_needs_a_common_start_is_refused_before_training(
    method: Method, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ContractError, match=rf"{why}.*; set trainer\.common_start=true"):
        own(method, **options)


# Newcomers


OLD = ("brats", "ixi")
NEW = {"oasis": (Task("T1", "T2"),)}


def joined() -> Federation:
    plan = {name: tuple(map(Task.parse, TASKS[name])) for name in OLD}
    return Federation({name: site(name) for name in (*OLD, *NEW)}, plan, NEW, Conditions(adapt=[]))


def test_a_newcomer_is_served_what_travels_and_keeps_the_common_start_for_the_rest() -> None:
    of = trainer(PFLSynth(), personalised(), joined())
    start = {path: tensor.clone() for path, tensor in of.sites["ixi"].tensors.items()}
    of.run()
    seen = {}
    synthesise = of.method.synthesise

    def watch(state, batch):
        seen[state.name] = {path: tensor.clone() for path, tensor in state.tensors.items()}
        seen["code"] = batch.code[0].clone()
        return synthesise(state, batch)

    of.method.synthesise = watch
    rows = [row for row in of.probe() if row["selection"] == "welcome"]
    assert {(row["site"], row["task"]) for row in rows} == {("oasis", "T1->T2")}
    assert all(np.isfinite(row["psnr"]) for row in rows)
    for path, tensor in seen["oasis"].items():
        if path in of.plan.model.offsets:
            assert torch.equal(tensor, of.plan.model.part(of.server.model, path))
        elif path in start:
            assert torch.equal(tensor, start[path])
    assert seen["code"][:3].tolist() == [0, 0, 1]  # a column after those of the sites


def test_a_newcomer_changes_no_number_of_the_others() -> None:
    plan = {name: tuple(map(Task.parse, TASKS[name])) for name in OLD}
    alone = Federation({name: site(name) for name in OLD}, plan)  # its code is shorter, so the network has none
    runs = [trainer(FedAvg(), sites=of).run() for of in (joined(), alone)]
    assert [row for row in runs[0].scores if row["site"] in OLD] == runs[1].scores
    assert runs[0].digest == runs[1].digest


def test_a_newcomer_needs_known_contrasts() -> None:
    plan = {name: tuple(map(Task.parse, ("T1->T2",))) for name in OLD}
    with pytest.raises(FederationError, match="no site of the federation trains with PD"):
        Federation({name: site(name) for name in (*OLD, "oasis")}, plan, {"oasis": (Task("T2", "PD"),)})


def test_starts_of_their_own_differ_between_sites_and_meet_at_the_first_mean() -> None:
    net = ResNet(width=4, blocks=1, discriminator_width=4, discriminator_layers=1, dropout=0.0)
    own, common = (trainer(FedAvg(), net, OLD, common_start=start) for start in (False, True))
    assert not torch.equal(own.sites["brats"].pack(), own.sites["ixi"].pack())
    assert torch.equal(common.sites["brats"].pack(), common.sites["ixi"].pack())
    before = {name: state.pack() for name, state in own.sites.items()}
    own.round(1)
    for name, state in own.sites.items():  # each trained from where it was, by a few steps of at most lr each
        assert float((state.pack() - before[name]).abs().max()) < 0.01
    expected = np.mean([state.pack().double().numpy() for state in own.sites.values()], 0)
    np.testing.assert_allclose(own.server.model, expected, atol=1e-7)
