"""Scenarios: who is missing, late, wrong or new, what else is scored, and every file of conf/scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.checkout import ROOT
from support.federations import federation, options, personalised, resnet, site

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.identity import plain, scenario as told, scenario_of
from fedsynth.benchmarks.records.record import expected_scores, read_scores, welcome_scores
from fedsynth.datasets.phantom import Phantom
from fedsynth.federation import Conditions, Federation, FederationError, Task
from fedsynth.federation.scenario import Scenario, misaligned, with_few
from fedsynth.method import Method
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbn import FedBN
from fedsynth.methods.fedrep import FedRep
from fedsynth.methods.local import Local
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.methods.pooled import Pooled
from fedsynth.trainer import Outcome, Trainer
from fedsynth.trainer.participation import Participation

NAMES = ("brats", "ixi", "midas")
T1T2 = (Task("T1", "T2"),)
SCENARIOS = sorted((ROOT / "conf" / "scenario").glob("*.yaml"))


def common(**conditions: Any) -> Federation:
    tasks = dict.fromkeys(NAMES, ("T1->T2",))
    return replace(federation(NAMES, tasks), conditions=Conditions(**conditions))


def joined(adapt: tuple[int, ...] = (1, 2)) -> Federation:
    """Three sites and a newcomer that has three training subjects."""
    sites = {name: site(name) for name in (*NAMES, "oasis")}
    conditions = Conditions(adapt=list(adapt), adapt_steps=4)
    return Federation(sites, dict.fromkeys(NAMES, T1T2), {"oasis": T1T2}, conditions)


def run(method: Method, of: Federation, **given: Any) -> tuple[Trainer, Outcome]:
    trainer = Trainer(method, personalised(), of, options(**given), seed=0)
    return trainer, trainer.run()


def probed(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in outcome.scores:
        found.setdefault(row["selection"], []).append(row)
    return found


# --- who is there ----------------------------------------------------------------------------------------------------


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


def test_at_least_one_site_arrives() -> None:
    there = Participation(["a", "b"], options(rounds=50), Conditions(fail=0.99), 0)
    assert all(len(there(round)) >= 1 for round in range(1, 51))


def test_a_group_joins_with_its_first_member() -> None:
    there = Participation(["a", "b+c"], options(rounds=10), Conditions(joins={"b": 0.5, "c": 0.2}), 0)
    assert [there(round) for round in (1, 2, 3)] == [["a"], ["a"], ["a", "b+c"]]


def test_a_site_that_is_absent_keeps_its_state_and_is_scored_all_the_same() -> None:
    trainer, outcome = run(FedBN(), common(joins={"ixi": 0.9}), rounds=2)
    start = Trainer(FedBN(), personalised(), common(), options(), seed=0)
    own = [path for path in trainer.sites["ixi"].tensors if path not in trainer.plan.model.offsets]
    assert own
    for path in own:
        assert torch.equal(trainer.sites["ixi"].tensors[path], start.sites["ixi"].tensors[path])
    absent = [row for row in outcome.curve if row["site"] == "ixi"]
    assert [row["bytes_up"] for row in absent] == [0, 0]
    assert all(np.isfinite(row["val_psnr"]) for row in absent)
    assert {row["site"] for row in outcome.scores} == set(NAMES)


def test_a_straggler_takes_the_first_of_its_steps() -> None:
    trainer = Trainer(FedAvg(), resnet(), common(straggle=0.99), options(local_steps=8), seed=0)
    seen: dict[str, list[int]] = {}
    step = trainer.method.step
    trainer.method.step = lambda site, batch: seen.setdefault(site.name, []).append(site.steps) or step(site, batch)  # type: ignore[method-assign,func-returns-value]
    trainer.round(1)
    for name, steps in seen.items():
        assert len(steps) == steps[0] == trainer.participants.steps(name, 8, 1)
    assert min(len(steps) for steps in seen.values()) < 8


# --- who is wrong ----------------------------------------------------------------------------------------------------


def test_a_poisoned_site_uploads_four_times_the_opposite_and_is_not_scored() -> None:
    plain_, bad = (Trainer(FedAvg(), resnet(), of, options(), seed=0) for of in (common(), common(poisoned=0.3)))
    start = plain_.server.model.clone()
    sent: dict[str, dict[str, torch.Tensor]] = {}
    for key, trainer in (("honest", plain_), ("bad", bad)):
        aggregate = trainer.method.aggregate

        def watch(server, uploads, key=key, aggregate=aggregate):  # type: ignore[no-untyped-def]
            sent[key] = {name: message.model.clone() for name, message in uploads.items()}
            aggregate(server, uploads)

        trainer.method.aggregate = watch  # type: ignore[method-assign]
        trainer.round(1)
    assert torch.equal(sent["honest"]["brats"], sent["bad"]["brats"])
    change = sent["honest"]["midas"] - start
    torch.testing.assert_close(sent["bad"]["midas"], start - 4 * change)
    outcome = run(FedAvg(), common(poisoned=0.3))[1]
    assert {row["site"] for row in outcome.scores} == {"brats", "ixi"}


def test_training_contrasts_are_moved_whole_and_tests_are_not() -> None:
    own = site("ixi", train=4)
    moved = misaligned(own, 3)
    np.testing.assert_array_equal(own.images[own.rows("test")], moved.images[own.rows("test")])
    np.testing.assert_array_equal(own.images[:, 0], moved.images[:, 0])
    subject = own.of("train")[1]
    shifts = [
        (down, across)
        for down in range(-3, 4)
        for across in range(-3, 4)
        if np.array_equal(
            np.roll(own.images[subject.slices, 1], (down, across), (1, 2))[:, 3:-3, 3:-3],
            moved.images[subject.slices, 1][:, 3:-3, 3:-3],
        )
    ]
    assert len(shifts) == 1
    assert misaligned(own, 3).images.tobytes() == moved.images.tobytes()


def test_few_training_subjects_are_the_first_ones() -> None:
    own = site("ixi", train=4)
    few = with_few(own, 2)
    assert [s.name for s in few.of("train")] == [s.name for s in own.of("train")][:2]
    for split in ("val", "test"):
        np.testing.assert_array_equal(few.images[few.rows(split)], own.images[own.rows(split)])
    np.testing.assert_array_equal(few.images[few.rows("train")], own.images[own.rows("train")][:4])
    assert with_few(own, 9) is own


# --- what else is scored ---------------------------------------------------------------------------------------------


def test_one_model_for_all_scores_the_same_whoever_it_serves_on_a_network_without_code() -> None:
    trainer = Trainer(FedAvg(), resnet(), common(across=True), options(), seed=0)
    found = probed(trainer.run())
    assert set(found) == {"selected", "last", *(f"from-{name}" for name in NAMES)}
    for name in NAMES:
        served = {(row["site"], row["subject"]): row["psnr"] for row in found[f"from-{name}"]}
        own = {(row["site"], row["subject"]): row["psnr"] for row in found["selected"] if row["site"] != name}
        assert served == own


def test_a_sites_own_model_is_told_at_other_sites_that_it_is_at_home() -> None:
    trainer, _ = run(Local(), common(across=True))
    seen = set()
    synthesise = trainer.method.synthesise

    def watch(state, batch):  # type: ignore[no-untyped-def]
        seen.add((state.name, batch.site, tuple(batch.code[0, :3].tolist())))
        return synthesise(state, batch)

    trainer.method.synthesise = watch  # type: ignore[method-assign]
    trainer.probe()
    codes = dict(zip(NAMES, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), strict=True))
    assert seen == {(name, name, codes[name]) for name in NAMES}


def test_pooled_sites_are_served_across_by_the_one_model_with_their_own_codes() -> None:
    found = probed(run(Pooled(), common(across=True))[1])
    assert {row["site"] for row in found["from-ixi"]} == {"brats", "midas"}


def test_an_asked_task_is_scored_with_its_code_and_never_trained() -> None:
    tasks = {"brats": ("T1->T2",), "ixi": ("T1->T2", "T2->PD"), "midas": ("T1->T2",)}
    of = replace(federation(NAMES, tasks), conditions=Conditions(asks={"brats": ["T2->PD"]}))
    trainer = Trainer(PFLSynth(), personalised(), of, options(), seed=0)
    seen = set()
    step, synthesise = trainer.method.step, trainer.method.synthesise

    def train(state, batch):  # type: ignore[no-untyped-def]
        seen.add((state.name, str(batch.task)))
        return step(state, batch)

    def serve(state, batch):  # type: ignore[no-untyped-def]
        if state.name == "brats" and str(batch.task) == "T2->PD":
            np.testing.assert_array_equal(batch.code[0].cpu(), of.code("brats", batch.task))
        return synthesise(state, batch)

    trainer.method.step, trainer.method.synthesise = train, serve  # type: ignore[method-assign]
    found = probed(trainer.run())
    assert {(row["site"], row["task"]) for row in found["asked"]} == {("brats", "T2->PD")}
    assert ("brats", "T2->PD") not in seen


def test_a_newcomer_under_local_has_no_welcome_and_adapts_from_scratch() -> None:
    found = probed(run(Local(), joined(), rounds=1, local_steps=4)[1])
    assert set(found) == {"selected", "last", "adapted-1", "adapted-2"}
    alone = Federation({"oasis": with_few(site("oasis"), 2)}, {"oasis": T1T2})
    # the same code is needed: one site of a federation has another column than a newcomer, so a network without code
    of = joined(adapt=(2,))
    scratch, trained = (
        Trainer(Local(), resnet(), data, options(rounds=1, local_steps=4), seed=0).run() for data in (alone, of)
    )
    expected = {row["subject"]: row["psnr"] for row in scratch.scores if row["selection"] == "last"}
    got = {row["subject"]: row["psnr"] for row in probed(trained)["adapted-2"]}
    assert got == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", [FedAvg(), FedRep(), PFLSynth()], ids=lambda method: type(method).__name__)
def test_a_newcomer_is_welcomed_and_adapts_without_a_trace_in_the_others(method: Method) -> None:
    trainer, outcome = run(method, joined())
    found = probed(outcome)
    assert {"welcome", "adapted-1", "adapted-2"} <= set(found)
    before = trainer.digests()
    again = trainer.probe()
    assert trainer.digests() == before
    assert again == [row for row in outcome.scores if row["selection"] not in ("selected", "last")]
    psnr = {name: np.mean([row["psnr"] for row in rows]) for name, rows in found.items()}
    assert len({psnr[name] for name in ("welcome", "adapted-1", "adapted-2")}) == 3


def test_of_a_diverged_run_probes_are_scored_as_the_mean_image() -> None:
    of = replace(joined(), conditions=Conditions(adapt=[1], adapt_steps=2, across=True))
    outcome = run(FedAvg(), of, lr=1e6, rounds=3)[1]
    assert outcome.status == "diverged"
    found = probed(outcome)
    assert {"welcome", "adapted-1", "from-ixi"} <= set(found)
    ixi = {row["subject"]: row["psnr"] for row in found["selected"] if row["site"] == "ixi"}
    assert ixi == {row["subject"]: row["psnr"] for row in found["from-brats"] if row["site"] == "ixi"}


# --- the files, and what cannot be -----------------------------------------------------------------------------------


def test_every_scenario_says_its_question_and_its_own_name() -> None:
    assert len(SCENARIOS) >= 19
    for path in SCENARIOS:
        first, *_ = path.read_text().splitlines()
        assert first.startswith("# "), path
        assert "?" in path.read_text(), path
        assert yaml.safe_load(path.read_text())["name"] == path.stem


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_can_be_done_by_the_phantom_and_told_again(path: Path) -> None:
    scenario = Scenario(**yaml.safe_load(path.read_text()))
    tasks = scenario.resolve(Phantom())
    what = plain(told(scenario, tasks))
    again = scenario_of(what)
    assert plain(told(again, again.resolve(Phantom()))) == what
    assert set(what["tasks"]) | set(what["newcomers"]) == set(tasks)
    assert len(set(expected_scores(what))) == len(list(expected_scores(what))) > 0
    assert bool(welcome_scores(what)) is (scenario.name == "unseen")


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({"joins": {"oasis": 0.5}}, "joins names 'oasis', which is none of its sites: brats, ixi"),
        ({"fail": 1.0}, "fail is 1.0; it must be at least 0 and below 1"),
        ({"joins": {"ixi": 1.5}}, "joins.ixi is 1.5; it must be at least 0 and below 1"),
        ({"joins": {"brats": 0.5}, "poisoned": 0.5}, "no site trains from the start that is not poisoned"),
        ({"newcomers": ["ixi"], "joins": {"ixi": 0.5}}, "'ixi' is a newcomer, which trains in no round"),
        ({"train_subjects": {"default": 0}}, "train_subjects.default is 0; it must be at least 1"),
        ({"shift": {"ixi": -1}}, "shift.ixi is -1; it must be at least 0"),
        ({"adapt": [0]}, "adapt is 0; it must be at least 1"),
        ({"asks": {"ixi": ["T1->FLAIR"]}}, "task T1->FLAIR needs FLAIR, which site 'ixi' lacks"),
    ],
)
def test_conditions_that_cannot_be_are_refused(conditions: Mapping[str, Any], complaint: str) -> None:
    scenario = Scenario("s", ["ixi", "brats"], {"default": ["T1->T2"]}, **conditions)
    with pytest.raises(FederationError, match=f"scenario s: .*{complaint}"):
        scenario.resolve(Phantom())


def test_a_newcomer_needs_the_subjects_on_which_it_adapts(tmp_path: Path) -> None:
    scenario = Scenario("s", ["ixi", "brats"], {"default": ["T1->T2"]}, newcomers=["ixi"])
    with pytest.raises(FederationError, match=r"newcomer ixi has 1 training subjects; scenario\.adapt asks for 8"):
        scenario.federation(Phantom(size=16, slices=1, train=1, val=1, test=1), tmp_path)


def test_a_newcomer_may_ask_for_a_task_that_nobody_trains() -> None:
    sites = {name: site(name) for name in (*NAMES, "oasis")}
    conditions = Conditions(adapt=[1], adapt_steps=2)
    of = Federation(sites, dict.fromkeys(NAMES, T1T2), {"oasis": (Task("T2", "T1"),)}, conditions)
    found = probed(run(PFLSynth(shared_discriminators=True), of)[1])
    assert {row["task"] for row in found["adapted-1"]} == {"T2->T1"}


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_runs_and_makes_a_table(
    path: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path_factory.getbasetemp() / "scenarios"
    cache.mkdir(exist_ok=True)
    (tmp_path / "cache").symlink_to(cache)  # the same phantom for all
    command = [
        "-m",
        "experiment=smoke",
        f"scenario={path.stem}",
        "method=local,fedavg,pflsynth",
        "--results",
        str(tmp_path),
    ]
    assert main(["run", *command, "trainer.local_steps=4"]) == 0
    records = [json.loads(found.read_bytes()) for found in tmp_path.glob("runs/*/record.json")]
    assert len(records) == 3
    for record in records:
        rows = read_scores(tmp_path / "runs" / record["run"])
        expected = set(expected_scores(record["identity"]["scenario"]))
        assert expected <= {(row["selection"], row["site"], row["task"]) for row in rows}
    assert main(["leaderboard", "--results", str(tmp_path)]) == 0
    assert path.stem in capsys.readouterr().out
