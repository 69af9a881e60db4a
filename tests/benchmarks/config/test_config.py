"""Every configuration that can be chosen composes, into plain dataclasses; commands become the runs that they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf
from support.checkout import ROOT

from fedsynth.benchmarks.config.identity import identity
from fedsynth.benchmarks.config.overrides import combinations, late, plan
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.runtime.options import Optimizer

CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCENARIOS = sorted(path.stem for path in (CONF / "scenario").glob("*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    assert register() == {}


@pytest.fixture
def hydra() -> Iterator[None]:
    with initialize_config_module("fedsynth.conf", version_base="1.3"):
        yield


def run(*overrides: str) -> Run:
    return Run.of(compose("config", list(overrides)))


def planned(*arguments: str) -> list[str]:
    return list(plan(get_args_parser().parse_args(arguments)))


@pytest.mark.parametrize("name", METHODS.entries())
@pytest.mark.usefixtures("hydra")
def test_a_method_comes_with_the_network_that_it_was_published_with(name: str) -> None:
    composed = run(f"method={name}")
    assert type(composed.method) is METHODS[name]
    assert type(composed.network) is NETWORKS[METHODS[name].published]
    assert METHODS[name].needs_norm in (None, composed.network.norm)


@pytest.mark.parametrize("network", NETWORKS.entries())
@pytest.mark.usefixtures("hydra")
def test_any_method_can_have_any_network(network: str) -> None:
    for method in ("pflsynth", "fedmri"):
        assert type(run(f"method={method}", f"network={network}").network) is NETWORKS[network]


@pytest.mark.parametrize(
    ("experiment", "scenario"),
    [*((name, "variable") for name in EXPERIMENTS), *(("smoke", name) for name in SCENARIOS)],
)
@pytest.mark.usefixtures("hydra")
def test_every_experiment_and_every_scenario_can_be_run(experiment: str, scenario: str) -> None:
    composed = run(f"experiment={experiment}", f"scenario={scenario}")
    assert composed.scenario.name == scenario
    assert (
        {"brats", "ixi", "oasis"}
        <= set(composed.scenario.resolve(composed.dataset))
        <= set(composed.dataset.contrasts())
    )


@pytest.mark.usefixtures("hydra")
def test_the_scenario_is_the_paper_s_unless_another_is_chosen() -> None:
    composed = run()
    tasks = {site: {str(task) for task in own} for site, own in composed.scenario.resolve(composed.dataset).items()}
    assert tasks == {
        "brats": {"T1->T2", "FLAIR->T2"},
        "ixi": {"T1->T2", "T2->PD"},
        "midas": {"T1->T2", "T2->T1"},
        "oasis": {"T1->T2", "T2->FLAIR"},
    }


@pytest.mark.usefixtures("hydra")
def test_what_leaves_the_boundary_knows_nothing_of_hydra() -> None:
    composed = run("trainer.optimizer=sgd", "trainer.betas=[0.9,0.99]", "method=pflsynth")
    parts = [composed.method, composed.network, composed.dataset, composed.scenario, composed.trainer]
    assert all(is_dataclass(part) for part in parts)
    assert not any(OmegaConf.is_config(value) for part in parts for value in vars(part).values())
    assert composed.trainer.optimizer is Optimizer.sgd
    assert type(composed.trainer.betas) is list


def test_an_experiment_for_seconds_fits_every_method(tmp_path: Path) -> None:
    names = planned("-m", "method=glob(*)", "experiment=smoke", f"results={tmp_path}")
    assert [name.partition("-")[0] for name in names] == sorted(METHODS.entries())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_s_choices_can_be_overridden(experiment: str) -> None:
    (name,) = planned(f"experiment={experiment}")
    (other,) = planned(f"experiment={experiment}", "trainer.rounds=77")
    assert name != other


def test_a_sweep_is_every_combination_of_sites_tasks_methods_and_seeds() -> None:
    arguments = get_args_parser().parse_args(
        [
            *("-m", "method=fedavg,fedbn", "scenario.sites=[ixi,brats],[ixi,midas,oasis]", "seed=0,1"),
            'scenario.tasks.ixi=["T1->T2"],["T1->T2","T2->PD"]',
        ]
    )
    with initialize_config_module("fedsynth.conf", version_base="1.3"):
        what = [identity(Run.of(compose("config", overrides))) for overrides in combinations(arguments)]
    seen = {
        (one["method"]["name"], *one["scenario"]["sites"], *one["scenario"]["tasks"]["ixi"], one["seed"])
        for one in what
    }
    assert ("fedbn", "ixi", "midas", "oasis", "T1->T2", "T2->PD", 1) in seen
    assert ("fedavg", "brats", "ixi", "T1->T2", 0) in seen
    assert len(seen) == len(what) == 2 * 2 * 2 * 2


def test_two_ways_to_say_the_same_are_one_run() -> None:
    assert len(planned("-m", "method=fedavg", "network=of_fedavg,resnet")) == 1


@pytest.mark.parametrize(
    ("experiment", "absent"),
    [("as_published", {"fedbn_released"}), ("one_network", {"fedbn_released", "fedmm", "silobn"})],
)
def test_an_experiment_may_name_its_methods(experiment: str, absent: set[str]) -> None:
    names = {name.partition("-")[0] for name in planned("-m", f"experiment={experiment}")}
    assert names == set(METHODS.entries()) - absent
    chosen = planned("-m", f"experiment={experiment}", "method=fedavg,fedbn")  # the command's word counts
    assert [name.partition("-")[0] for name in chosen] == ["fedavg", "fedbn"]


def test_on_an_equal_footing_everyone_has_one_network() -> None:
    with initialize_config_module("fedsynth.conf", version_base="1.3"):
        runs = [run("experiment=one_network", f"method={name}") for name in ("fedmri", "fedcycle", "pflsynth")]
    assert len({repr(one.network) for one in runs}) == 1
    assert len({repr(one.trainer) for one in runs}) == 1


@pytest.mark.parametrize(
    ("word", "waits"),
    [
        ("method.eta=0.5", "method.eta=choice(0.5)"),
        ("+method.eta=0.5", "+method.eta=choice(0.5)"),
        ("network.depths=[1,2]", "network.depths=choice([1,2])"),
        ("method.eta=0.5,0.6", "method.eta=0.5,0.6"),
        ("trainer.lr=1e-3", "trainer.lr=1e-3"),
        ('scenario.tasks.ixi=["T1->T2"]', 'scenario.tasks.ixi=["T1->T2"]'),
    ],
)
def test_an_option_of_swept_methods_waits_for_them(word: str, waits: str) -> None:
    assert late(word) == waits
