"""Sites that never trained: what they are sent and from where the rest comes; and starts that are not common."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.federations import TASKS, personalised, site, trainer

from fedsynth.federation import Conditions, Federation, FederationError, Task
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.networks.resnet import ResNet

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
