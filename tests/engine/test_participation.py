"""Who takes part in a round: who is missing, late or slow, and who sends the opposite of what it learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.federations import federation, options, personalised, resnet, trainer

from fedsynth.evaluation.evaluate import serving
from fedsynth.exchange import ContractError, Message
from fedsynth.federation import Conditions, Federation, FederationError, Task
from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbn import FedBN
from fedsynth.methods.pfedme import PFedMe
from fedsynth.runtime.options import ServerRule
from fedsynth.site import SiteState
from fedsynth.trainer.participation import Participation

NAMES = ("brats", "ixi", "midas")
T1T2 = (Task("T1", "T2"),)


def common(**conditions: Any) -> Federation:
    tasks = dict.fromkeys(NAMES, ("T1->T2",))
    return replace(federation(NAMES, tasks), conditions=Conditions(**conditions))


def test_failures_stragglers_and_late_sites_have_the_frequency_that_was_asked_for() -> None:
    names = [f"s{k}" for k in range(40)]
    there = Participation(
        names, options(rounds=100), Conditions(fail=0.3, straggle=0.4, joins={"s0": 0.5, "s1+s2": 0.9}), 0
    )
    arrived = [there(round) for round in range(1, 101)]
    share = np.mean([len(own) / 40 for own in arrived[50:]])
    assert abs(share - 0.7) < 4 * np.sqrt(0.3 * 0.7 / (50 * 40))
    assert not any("s0" in own for own in arrived[:50])
    assert any("s0" in own for own in arrived[50:])
    steps = np.array([there.steps(name, 100, round) for name in names for round in range(1, 101)])
    assert abs(np.mean(steps < 100) - 0.4) < 4 * np.sqrt(0.4 * 0.6 / 4000) + 0.01
    slow = steps[steps < 100]
    assert abs(slow.mean() - 50) < 4 * 29 / np.sqrt(len(slow)) + 1
    assert steps.min() >= 1


def test_who_fails_does_not_depend_on_who_else_is_there() -> None:
    few, many = (Participation(names, options(rounds=9), Conditions(fail=0.5), 3) for names in ("abc", "abcdefgh"))
    for round in range(1, 10):
        assert set(few(round)) & set("abc") >= set(many(round)) & set("abc")


def test_a_named_site_is_away_in_named_rounds_and_changes_nobody_elses() -> None:
    names, drawing = ["a", "b", "c", "d+e"], options(rounds=20, participation=0.5)
    there, plain = (
        Participation(names, drawing, of, 2) for of in (Conditions(absent={"b": [3, 9], "d": [3]}), Conditions())
    )
    drawn = [round for round in (3, 9) if "b" in plain(round)]
    assert drawn  # of the seed
    for round in range(1, 21):  # d+e is there as long as e is
        assert there(round) == [name for name in plain(round) if (name, round) not in {("b", 3), ("b", 9)}]


@pytest.mark.parametrize(
    ("absent", "told"),
    [
        ({"a": [1, 9]}, "absent names round 9 of site a, and the run has 8; leave it out"),
        ({"a": [2], "b": [1, 2]}, "absent leaves nobody in round 2: a and b would train in it"),
    ],
)
def test_a_round_without_anybody_and_one_that_is_not_there_are_refused(absent: dict[str, list[int]], told: str) -> None:
    with pytest.raises(FederationError, match=told):
        Participation(["a", "b"], options(rounds=8), Conditions(absent=absent), 0)


def test_at_least_one_site_arrives() -> None:
    there = Participation(["a", "b"], options(rounds=50), Conditions(fail=0.99), 0)
    assert all(len(there(round)) >= 1 for round in range(1, 51))


def test_an_upload_that_is_lost_is_missed_by_the_server_alone() -> None:
    """In a federation of three whose uploads get lost, as many arrive as where sites fail, and every site trains."""
    names = [f"s{k}" for k in range(40)]
    there = Participation(names, options(rounds=50), Conditions(lose=0.3), 0)
    assert all(there(round) == sorted(names) for round in (1, 50))
    arrived = [len(there.arrivals(round)) for round in range(1, 51)]
    assert abs(np.mean(arrived) / 40 - 0.7) < 4 * np.sqrt(0.3 * 0.7 / (50 * 40))
    of = trainer(Ditto(), resnet(blocks=1), common(lose=0.99), rounds=2)
    start = {name: site.pack("personal") for name, site in of.sites.items()}
    seen: list[str] = []
    upload = of.method.upload
    of.method.upload = lambda site: seen.append(site.name) or upload(site)
    outcome = of.run()
    assert seen == [*of.participants.arrivals(1), *of.participants.arrivals(2)]
    assert len(seen) == 2
    assert {row["bytes_up"] > 0 for row in outcome.curve} == {False, True}
    assert all(row["gradient_evaluations"] for row in outcome.curve)
    for name, site in of.sites.items():
        assert site.trained
        assert not torch.equal(site.pack("personal"), start[name])


def test_what_a_site_learns_for_itself_it_serves_although_its_uploads_are_lost() -> None:
    """pFedMe's theta, which leaves no trace at the server."""
    of = trainer(PFedMe(), resnet(blocks=1), common(lose=0.99), rounds=1)
    of.round(1)
    lost = set(of.sites) - set(of.participants.arrivals(1))
    assert len(lost) == 2
    for name in lost:
        theta = of.sites[name].pack()
        assert not torch.equal(theta, of.server.model)
        with serving(of.method, of.server_party.download(name), of.sites[name]):
            assert torch.equal(of.sites[name].pack(), theta)


def test_a_group_joins_with_its_first_member() -> None:
    there = Participation(["a", "b+c"], options(rounds=10), Conditions(joins={"b": 0.5, "c": 0.2}), 0)
    assert [there(round) for round in (1, 2, 3)] == [["a"], ["a"], ["a", "b+c"]]


def test_a_site_that_is_absent_keeps_its_state_and_is_scored_all_the_same() -> None:
    of = trainer(FedBN(), personalised(), common(joins={"ixi": 0.9}), rounds=2)
    outcome = of.run()
    start = trainer(FedBN(), personalised(), common())
    own = [path for path in of.sites["ixi"].tensors if path not in of.plan.model.offsets]
    assert own
    for path in own:
        assert torch.equal(of.sites["ixi"].tensors[path], start.sites["ixi"].tensors[path])
    absent = [row for row in outcome.curve if row["site"] == "ixi"]
    assert [row["bytes_up"] for row in absent] == [0, 0]
    assert all(np.isfinite(row["val_psnr"]) for row in absent)
    assert {row["site"] for row in outcome.scores} == set(NAMES)


def test_a_straggler_takes_the_first_of_its_steps() -> None:
    of = trainer(FedAvg(), sites=common(straggle=0.99), local_steps=8)
    of.round(1)
    steps = {row["site"]: row["gradient_evaluations"] / 2 for row in of.state.curve}
    assert steps == {name: of.participants.steps(name, 8, 1) for name in of.sites}
    assert min(steps.values()) < 8


def test_a_poisoned_site_uploads_four_times_the_opposite_and_is_not_scored() -> None:
    plain_, bad = (trainer(FedAvg(), sites=of) for of in (common(), common(poisoned=0.3)))
    start = plain_.server.model.clone()
    sent: dict[str, dict[str, torch.Tensor]] = {}
    for key, of in (("honest", plain_), ("bad", bad)):
        aggregate = of.method.aggregate

        def watch(server, uploads, key=key, aggregate=aggregate):
            sent[key] = {name: message.model.clone() for name, message in uploads.items()}
            aggregate(server, uploads)

        of.method.aggregate = watch
        of.round(1)
    assert torch.equal(sent["honest"]["brats"], sent["bad"]["brats"])
    change = sent["honest"]["midas"] - start
    torch.testing.assert_close(sent["bad"]["midas"], start - 4 * change)
    outcome = trainer(FedAvg(), personalised(), common(poisoned=0.3)).run()
    assert {row["site"] for row in outcome.scores} == {"brats", "ixi"}


@dataclass
class OddUploads(FedAvg):
    """Sends another vector than the plan's from a poisoned site, or one with a NaN."""

    broken: bool = False

    def upload(self, site: SiteState) -> Message:
        message = super().upload(site)
        model = message.model.clone()
        if site.name == "midas" and self.broken:
            model[0] = torch.nan
        return Message(message, model=model if self.broken else torch.stack([model, model]))


def test_a_poisoned_upload_of_another_form_is_an_error_that_names_method_and_site() -> None:
    of = trainer(OddUploads(), resnet(blocks=1), common(poisoned=0.3), local_steps=1)
    with pytest.raises(ContractError, match=r"method OddUploads at site midas: its upload has a model of shape \(2, "):
        of.round(1)


@pytest.mark.parametrize("rule", [ServerRule.mean, ServerRule.median])
def test_an_upload_that_is_not_finite_ends_the_run_and_is_no_tensor_that_a_site_lacks(rule: ServerRule) -> None:
    of = trainer(OddUploads(broken=True), resnet(blocks=1), common(), local_steps=1, server_rule=rule)
    of.round(1)
    assert of.state.diverged == "the upload of site midas is not finite in round 1"
