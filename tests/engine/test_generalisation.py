"""What else is scored at the end of a run: other sites, tasks never trained, newcomers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.federations import federation, personalised, resnet, site, trainer

from fedsynth.federation import Conditions, Federation, Task
from fedsynth.federation.scenario import with_few
from fedsynth.method import Method
from fedsynth.methods.apfl import APFL
from fedsynth.methods.ditto import Ditto
from fedsynth.methods.fedavg import FedAvg
from fedsynth.methods.fedbabu import FedBABU
from fedsynth.methods.fedrep import FedRep
from fedsynth.methods.finetune import Finetune
from fedsynth.methods.local import Local
from fedsynth.methods.perfedavg import PerFedAvg
from fedsynth.methods.pflsynth import PFLSynth
from fedsynth.methods.pooled import Pooled
from fedsynth.methods.scaffold import SCAFFOLD
from fedsynth.methods.silobn import SiloBN
from fedsynth.networks.blocks import Norm
from fedsynth.site import SiteState
from fedsynth.trainer import Outcome, Trainer

ADAPTING = [FedAvg(), Finetune(), Finetune(steps=2), FedBABU(), PerFedAvg(), Ditto(), SiloBN()]
NAMES = ("brats", "ixi", "midas")
T1T2 = (Task("T1", "T2"),)


def common(**conditions: Any) -> Federation:
    tasks = dict.fromkeys(NAMES, ("T1->T2",))
    return replace(federation(NAMES, tasks), conditions=Conditions(**conditions))


def joined(adapt: tuple[int, ...] = (1, 2)) -> Federation:
    """Three sites and a newcomer that has three training subjects."""
    sites = {name: site(name) for name in (*NAMES, "oasis")}
    conditions = Conditions(adapt=list(adapt), adapt_steps=4)
    return Federation(sites, dict.fromkeys(NAMES, T1T2), {"oasis": T1T2}, conditions)


def run(method: Method, of: Federation, **given: Any) -> tuple[Trainer, Outcome]:
    made = trainer(method, personalised(), of, **given)
    return made, made.run()


def probed(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in outcome.scores:
        found.setdefault(row["selection"], []).append(row)
    return found


def test_one_model_for_all_scores_the_same_whoever_it_serves_on_a_network_without_code() -> None:
    of = trainer(FedAvg(), sites=common(across=True))
    found = probed(of.run())
    assert set(found) == {"selected", "last", *(f"from-{name}" for name in NAMES)}
    for name in NAMES:
        served = {(row["site"], row["subject"]): row["psnr"] for row in found[f"from-{name}"]}
        own = {(row["site"], row["subject"]): row["psnr"] for row in found["selected"] if row["site"] != name}
        assert served == own


def test_a_sites_own_model_is_told_at_other_sites_that_it_is_at_home() -> None:
    of, _ = run(Local(), common(across=True))
    seen = set()
    synthesise = of.method.synthesise

    def watch(state, batch):
        seen.add((state.name, batch.site, tuple(batch.code[0, :3].tolist())))
        return synthesise(state, batch)

    of.method.synthesise = watch
    of.probe()
    codes = dict(zip(NAMES, ((1, 0, 0), (0, 1, 0), (0, 0, 1)), strict=True))
    assert seen == {(name, name, codes[name]) for name in NAMES}


def test_pooled_sites_are_served_across_by_the_one_model_with_their_own_codes() -> None:
    found = probed(run(Pooled(), common(across=True))[1])
    assert {row["site"] for row in found["from-ixi"]} == {"brats", "midas"}


def test_an_asked_task_is_scored_with_its_code_and_never_trained() -> None:
    tasks = {"brats": ("T1->T2",), "ixi": ("T1->T2", "T2->PD"), "midas": ("T1->T2",)}
    of = replace(federation(NAMES, tasks), conditions=Conditions(asks={"brats": ["T2->PD"]}))
    made = trainer(PFLSynth(), personalised(), of)
    seen = set()
    step, synthesise = made.method.step, made.method.synthesise

    def train(state, batch):
        seen.add((state.name, str(batch.task)))
        return step(state, batch)

    def serve(state, batch):
        if state.name == "brats" and str(batch.task) == "T2->PD":
            np.testing.assert_array_equal(batch.code[0].cpu(), of.code("brats", batch.task))
        return synthesise(state, batch)

    made.method.step, made.method.synthesise = train, serve
    found = probed(made.run())
    assert {(row["site"], row["task"]) for row in found["asked"]} == {("brats", "T2->PD")}
    assert ("brats", "T2->PD") not in seen


def test_a_newcomer_under_local_has_no_welcome_and_adapts_from_scratch() -> None:
    found = probed(run(Local(), joined(), rounds=1, local_steps=4)[1])
    assert set(found) == {"selected", "last", "adapted-1", "adapted-2"}
    alone = Federation({"oasis": with_few(site("oasis"), 2)}, {"oasis": T1T2})
    # the same code is needed: one site of a federation has another column than a newcomer, so a network without code
    of = joined(adapt=(2,))
    scratch, trained = (trainer(Local(), sites=data, rounds=1, local_steps=4).run() for data in (alone, of))
    expected = {row["subject"]: row["psnr"] for row in scratch.scores if row["selection"] == "last"}
    got = {row["subject"]: row["psnr"] for row in probed(trained)["adapted-2"]}
    assert got == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", [FedAvg(), FedRep(), PFLSynth()], ids=lambda method: type(method).__name__)
def test_a_newcomer_is_welcomed_and_adapts_without_a_trace_in_the_others(method: Method) -> None:
    of, outcome = run(method, joined())
    found = probed(outcome)
    assert {"welcome", "adapted-1", "adapted-2"} <= set(found)
    before = of.digests()
    again = of.probe()
    assert of.digests() == before
    assert again == [row for row in outcome.scores if row["selection"] not in ("selected", "last")]
    psnr = {name: np.mean([row["psnr"] for row in rows]) for name, rows in found.items()}
    assert len({psnr[name] for name in ("welcome", "adapted-1", "adapted-2")}) == 3


@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: type(method).__name__)
def test_all_newcomers_have_equal_budgets(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many local steps as the conditions say, fine-tuning and gradient steps before serving included; none to be welcomed."""
    of = trainer(method, resnet(blocks=1, norm=method.needs_norm or Norm.instance), joined(adapt=(1,)), rounds=1)
    of.round(1)
    taken: list[int] = []
    run, slope = of.step.run, SiteState.slope

    def counted(*given: Any) -> None:
        before = len(taken)
        run(*given)
        taken[before:] = (
            [1] if given[2] else []
        )  # and not the gradients inside of it, nor a step that only counts operations

    def one_more(*given: Any) -> Any:
        taken.append(1)
        return slope(*given)

    monkeypatch.setattr(of.step, "run", counted)
    monkeypatch.setattr(SiteState, "slope", one_more)
    found, probes = {}, of.probe
    monkeypatch.setattr(
        "fedsynth.evaluation.evaluate.by_subject", lambda *_, **__: found.update({len(found): len(taken)}) or []
    )
    probes()
    assert found == {0: 0, 1: 4}


def test_scaffold_does_not_correct_a_newcomer() -> None:
    of = trainer(SCAFFOLD(), resnet(blocks=1), joined(), rounds=1)
    of.round(1)
    assert of.server.memory.tensor("control").abs().max() > 0
    seen = []
    step = of.method.step

    def watch(state, batch):
        seen.append(float(state.memory["correction"].abs().max()))
        return step(state, batch)

    of.method.step = watch
    of.probe()
    assert set(seen) == {0.0}


@pytest.mark.parametrize("method", [Ditto(), APFL(alpha=1.0)], ids=["Ditto", "APFL"])
def test_a_newcomer_serves_the_personal_model_that_it_adapted_from_the_servers(method: Method) -> None:
    of = trainer(method, resnet(blocks=1), joined(adapt=(1,)), rounds=1, lr=1e-5)
    of.round(1)
    of.server.model = of.server.model + 0.1  # far from the common start
    gaps = {}
    synthesise = of.method.synthesise

    def watch(state, batch):
        gap = max(
            float((t - state.tensors[f"personal.{p}"]).abs().max())
            for p, t in state.tensors.items()
            if p[:5] == "gener"
        )
        gaps[state.trained] = gap
        return synthesise(state, batch)

    of.method.synthesise = watch
    of.probe()
    assert gaps[False] == 0
    assert 0 < gaps[True] < 1e-3


def test_of_a_diverged_run_probes_are_scored_as_the_mean_image() -> None:
    of = replace(joined(), conditions=Conditions(adapt=[1], adapt_steps=2, across=True))
    outcome = run(FedAvg(), of, lr=1e30, rounds=3)[1]
    assert outcome.status == "diverged"
    found = probed(outcome)
    assert {"welcome", "adapted-1", "from-ixi"} <= set(found)
    ixi = {row["subject"]: row["psnr"] for row in found["selected"] if row["site"] == "ixi"}
    assert ixi == {row["subject"]: row["psnr"] for row in found["from-brats"] if row["site"] == "ixi"}


def test_a_newcomer_may_ask_for_a_task_that_nobody_trains() -> None:
    sites = {name: site(name) for name in (*NAMES, "oasis")}
    conditions = Conditions(adapt=[1], adapt_steps=2)
    of = Federation(sites, dict.fromkeys(NAMES, T1T2), {"oasis": (Task("T2", "T1"),)}, conditions)
    found = probed(run(PFLSynth(shared_discriminators=True), of)[1])
    assert {row["task"] for row in found["adapted-1"]} == {"T2->T1"}
