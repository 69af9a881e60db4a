"""Every configuration that can be chosen composes, into plain dataclasses; commands become the runs that they say."""

from __future__ import annotations

from dataclasses import is_dataclass

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from support.source import ROOT

from fedsynth.benchmarks.config.compose import composed
from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.explain import explained
from fedsynth.benchmarks.config.grid import combined, runs
from fedsynth.benchmarks.config.overrides import deferred
from fedsynth.benchmarks.config.schema import Run, register
from fedsynth.datasets.phantom import Phantom
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import METHODS, NETWORKS
from fedsynth.runtime.optimizers.sgd import SGD

CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCENARIOS = sorted(path.stem for path in (CONF / "scenario").glob("*.yaml"))
SITES = {"brats", "ixi", "oasis"}


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    assert register() == {}


def run(*overrides: str) -> Run:
    return Run.of(composed(overrides))


@pytest.mark.parametrize("name", METHODS.entries())
def test_a_method_comes_with_its_default_network(name: str) -> None:
    node = ConfigStore.instance().load(f"network/of_{name}.yaml").node
    assert OmegaConf.get_type(node) is NETWORKS[METHODS[name].default_network()]
    needed = METHODS[name].needs_norm
    assert OmegaConf.is_interpolation(node, "norm") if needed is None else node.norm is needed


@pytest.mark.parametrize("name", ["silobn", "pflsynth"])
def test_a_run_has_the_network_of_its_method(name: str) -> None:
    found = run(f"method={name}")
    assert (type(found.method), type(found.network)) == (METHODS[name], NETWORKS[METHODS[name].default_network()])
    assert METHODS[name].needs_norm in (None, found.network.norm)


@pytest.mark.parametrize("network", NETWORKS.entries())
def test_any_method_can_have_any_network(network: str) -> None:
    assert type(run("method=pflsynth", f"network={network}").network) is NETWORKS[network]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_can_be_run_and_changed(experiment: str) -> None:
    found = run(f"experiment={experiment}", "scenario=variable", "trainer.rounds=77")
    assert (found.scenario.name, found.trainer.rounds) == ("variable", 77)
    assert {site.rpartition("-")[2] for site in found.scenario.resolve(found.dataset)} >= SITES


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_leaves_another_data_set_than_the_phantom_as_it_is(experiment: str) -> None:
    """What it sets of the phantom stands under `where_present`. Only the control cannot do without the phantom's switches."""
    content = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    assert ("dataset" in content) is (experiment == "homogeneous")
    assert "dataset" not in content.get("where_present", {})  # options of one name mean different things


@pytest.mark.parametrize("experiment", ["smoke", "demo", "paper"])
def test_one_s_own_data_are_taken_as_they_are(experiment: str) -> None:
    found = run(f"experiment={experiment}", "dataset=folder", "dataset.root=somewhere").dataset
    assert (found.root, found.val, found.chain.size) == ("somewhere", 0.1, 256)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_run(name: str) -> None:
    scenario = Scenario(**yaml.safe_load((CONF / "scenario" / f"{name}.yaml").read_text()))
    assert scenario.name == name
    assert set(Phantom().contrasts()) >= set(scenario.resolve(Phantom())) >= SITES


def test_the_scenario_is_the_paper_s_unless_another_is_chosen() -> None:
    found = run()
    tasks = {site: {str(task) for task in own} for site, own in found.scenario.resolve(found.dataset).items()}
    assert tasks == {
        "brats": {"T1->T2", "FLAIR->T2"},
        "ixi": {"T1->T2", "T2->PD"},
        "midas": {"T1->T2", "T2->T1"},
        "oasis": {"T1->T2", "T2->FLAIR"},
    }


def test_what_leaves_the_boundary_knows_nothing_of_hydra() -> None:
    found = run("optimizer=sgd", "optimizer.momentum=0.9", "schedule=cosine", "method=pflsynth")
    parts = [found.method, found.network, found.dataset, found.scenario, found.trainer]
    assert all(is_dataclass(part) for part in parts)
    assert not any(OmegaConf.is_config(value) for part in parts for value in vars(part).values())
    assert found.trainer.optimizer == SGD(momentum=0.9)
    assert type(run().trainer.optimizer.betas) is list


def test_an_experiment_for_seconds_fits_every_method() -> None:
    """Of methods with one published network, one stands for all: what the experiment sets is of the network and the trainer."""
    kinds = {(entry.cls.default_network(), entry.cls.needs_norm): name for name, entry in METHODS.entries().items()}
    found = runs([f"method={','.join(kinds.values())}", "experiment=smoke"], multirun=True)
    assert {cell.identity["method"]["name"] for cell in found} == {*kinds.values()}
    assert {cell.run.network.width for cell in found} == {4}


def test_a_multirun_is_every_combination_of_sites_tasks_methods_and_seeds() -> None:
    words = ["method=fedavg,fedbn", "scenario.sites=[ixi,brats],[ixi,midas,oasis]", "seed=0,1"]
    words.append('+scenario.tasks.ixi=["T1->T2"],["T1->T2","T2->PD"]')
    assert len(combined(words)) == 2 * 2 * 2 * 2
    few = runs(["method=fedbn", "seed=1", *words[1:2], words[3]], multirun=True)
    seen = {(*cell.identity["scenario"]["sites"], *cell.identity["scenario"]["tasks"]["ixi"]) for cell in few}
    both, one = ("T1->T2", "T2->PD"), ("T1->T2",)
    assert seen == {
        (*sites, *tasks) for sites in (("brats", "ixi"), ("ixi", "midas", "oasis")) for tasks in (one, both)
    }
    assert {(cell.identity["method"]["name"], cell.run.seed) for cell in few} == {("fedbn", 1)}


def test_two_ways_to_say_the_same_are_one_run() -> None:
    assert len(runs(["method=fedavg", "network=of_fedavg,resnet"], multirun=True)) == 1


def test_without_multirun_several_values_are_refused() -> None:
    with pytest.raises(OptionError, match="add --multirun"):
        runs(["method=local,fedavg"], multirun=False)


def test_an_experiment_may_name_its_methods() -> None:
    def methods(*words: str) -> set[str]:
        return {cell["method"] for cell in combined(["experiment=as_published", *words])}

    assert methods() == set(METHODS.entries()) - {"fedbn_released"}
    assert methods("method=fedavg,fedbn") == {"fedavg", "fedbn"}  # the command's word counts


def test_on_an_equal_footing_everyone_has_one_network() -> None:
    found = [run("experiment=equal_footing", f"method={name}") for name in ("fedmri", "fedcycle", "pflsynth")]
    assert len({repr(one.network) for one in found}) == 1
    assert len({repr(one.trainer) for one in found}) == 1


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
    assert deferred(word) == waits


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("trainer.lr=nan", "trainer.lr is nan; it must be a finite number"),
        ("trainer.lr=inf", "trainer.lr is inf"),
        ("optimizer.betas=[0.5,nan]", r"optimizer.betas is \[0.5, nan\]"),
        ("scenario.straggle=nan", "scenario.straggle is nan"),
        ("+scenario.joins.ixi=nan", "scenario.joins.ixi is nan"),
        ("method.l1=inf", "method.l1 is inf"),
        ("network.dropout=nan", "network.dropout is nan"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_before_anything_trains(option: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run("method=fedavg", option)


def test_an_entry_of_a_list_cannot_be_set_alone() -> None:
    with pytest.raises(OptionError, match=r"a list is set as a whole, as in network.depths=\[1,2\]"):
        run("network=restormer", "network.depths.0=2")


def test_a_launcher_that_is_not_installed_is_told_with_its_package() -> None:
    with (
        pytest.raises(OptionError, match=r"no hydra/launcher 'submitit_slurm'.* pip install hydra-submitit-launcher"),
        explained(),
    ):
        composed(["hydra/launcher=submitit_slurm"])
