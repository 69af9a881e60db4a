"""Grids of experiments: products of options, what the command line changes of them, tuned options, errors that name the cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.source import ROOT

from fedsynth.benchmarks.config.errors import OptionError
from fedsynth.benchmarks.config.grid import Cell, cells
from fedsynth.benchmarks.config.overrides import combinations, sweep_literal
from fedsynth.benchmarks.config.schema import register
from fedsynth.benchmarks.config.tuned import Tuned
from fedsynth.datasets.phantom import Phantom

CONF = ROOT / "conf"
WITH_GRIDS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml") if "\ngrids:" in path.read_text())


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    register()


def experiment(folder: Path, *grids: Any) -> list[str]:
    """The overrides that choose an experiment of these grids, at the size of `smoke`."""
    (folder / "experiment").mkdir(exist_ok=True)
    content = {"defaults": ["smoke", "_self_"], "grids": list(grids)}
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content))
    return ["experiment=mine", f"hydra.searchpath=[file://{folder}]"]


def told(found: list[Cell]) -> list[tuple[str, int, float]]:
    return [(cell.identity["method"]["name"], cell.run.seed, cell.run.trainer.lr) for cell in found]


def test_cells_are_the_products_of_each_grid_those_of_the_first_seed_first(tmp_path: Path) -> None:
    chosen = experiment(
        tmp_path,
        {"method": ["local", "fedavg"], "seed": [0, 1]},
        {"method": "pflsynth", "method.share": ["all", "none"], "seed": "range(2)", "network": "personalised"},
        {"method": "fedavg", "seed": 0},  # is in the first grid already
    )
    found = [
        (cell.identity["method"]["name"], cell.run.seed, cell.identity["method"].get("share")) for cell in cells(chosen)
    ]
    assert found == [
        *(("local", 0, None), ("fedavg", 0, None), ("pflsynth", 0, "all"), ("pflsynth", 0, "none")),
        *(("local", 1, None), ("fedavg", 1, None), ("pflsynth", 1, "all"), ("pflsynth", 1, "none")),
    ]


def test_an_entry_of_a_list_may_be_a_list_itself(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, {"scenario": "common", "scenario.tasks.default": [["T1->T2"], ["T2->T1", "T1->T2"]]})
    assert [cell.identity["scenario"]["tasks"]["ixi"] for cell in cells(chosen)] == [["T1->T2"], ["T1->T2", "T2->T1"]]


def test_the_command_line_counts_in_every_cell_and_replaces_what_grids_say(tmp_path: Path) -> None:
    chosen = experiment(
        tmp_path, {"method": ["local", "fedavg"], "seed": [0, 1], "trainer.lr": 1e-3}, {"method": "fedbn", "seed": 0}
    )
    assert told(cells([*chosen, "seed=5,6", "trainer.lr=0.5"])) == [
        *(("local", 5, 0.5), ("fedavg", 5, 0.5), ("fedbn", 5, 0.5)),
        *(("local", 6, 0.5), ("fedavg", 6, 0.5), ("fedbn", 6, 0.5)),
    ]


def test_methods_on_the_command_line_keep_their_cells(tmp_path: Path) -> None:
    chosen = experiment(tmp_path, {"method": "glob(fed*)", "seed": 0}, {"method": ["local", "fedbn"], "seed": 1})
    assert told(cells([*chosen, "method=fedavg,fedbn"])) == [
        ("fedavg", 0, 3e-3),
        ("fedbn", 0, 3e-3),
        ("fedbn", 1, 3e-3),
    ]
    with pytest.raises(OptionError, match="no grid of the experiment has method=pflsynth"):
        cells([*chosen, "method=pflsynth"])


def test_an_experiment_without_grids_is_what_the_command_sweeps() -> None:
    assert told(cells(["experiment=smoke", "method=local,fedavg", "seed=0,1"])) == [
        *(("local", 0, 3e-3), ("fedavg", 0, 3e-3)),
        *(("local", 1, 3e-3), ("fedavg", 1, 3e-3)),
    ]


def test_tuned_options_yield_to_the_grid_s_and_those_to_the_command_s(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text("local: [trainer.lr=0.25]\nfedprox: [trainer.lr=0.125, method.mu=0.5]\n")
    chosen = experiment(tmp_path, {"method": ["local", "fedprox"], "tuned": str(file)})
    assert told(cells(chosen)) == [("local", 0, 0.25), ("fedprox", 0, 0.125)]
    assert cells(chosen)[1].identity["method"]["mu"] == 0.5
    of_grid = experiment(tmp_path, {"method": "fedprox", "method.mu": 0.25, "tuned": str(file)})
    assert cells(of_grid)[0].identity["method"]["mu"] == 0.25
    assert cells([*of_grid, "method.mu=1"])[0].identity["method"]["mu"] == 1
    assert told(cells([*of_grid, "tuned=null"])) == [("fedprox", 0, 3e-3)]


@pytest.mark.parametrize(
    ("grids", "words", "message"),
    [
        (
            [{"seed": 0}, {"method": "fedavg", "method.mu": 1}],
            [],
            "grid 2, .*method=fedavg .*: method.mu: FedAvg has no option",
        ),
        ([{"method": ["local", "fedavgg"]}], [], "method=fedavgg .*no method 'fedavgg'; the nearest: fedavg"),
        ([{"scenario.sites": [["ixi"], ["oasys"]]}], [], "scenario.sites=.oasys. .*no site 'oasys'"),
        ([{"method": "local", "trainer.lr": -1}], [], "trainer.lr is -1"),
        (
            [{"method": "local", "tuned": "nowhere"}],
            [],
            "there is no .*nowhere.yaml; .*--write.* tuned=null does without",
        ),
        ([{"scenario.name": "a)b"}], [], "cannot read 'scenario.name"),
        (["local"], [], "grid 1 is 'local'; it must be a mapping"),
        ([{"method": "local"}], ["seed=zero"], "seed=zero.*zero"),
        ([{"method": "local"}], ["trainer.round=1"], "trainer.round: TrainerOptions has no option 'round'"),
        ([{"method": "local"}], ["experiment=coree"], "no experiment 'coree'; the nearest: core"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_run_is_named(grids: list[Any], words: list[str], message: str, tmp_path: Path) -> None:
    chosen = [
        word for word in experiment(tmp_path, *grids) if not (words and words[0].startswith(word.split("=")[0] + "="))
    ]
    with pytest.raises(OptionError, match=message):
        cells([*chosen, *words])


def test_a_cell_knows_how_its_options_were_tuned(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text("tuning: {trials: 5, seed: 100}\nlocal: []\nfedprox: [trainer.lr=0.125]\n")
    plain, tuned = cells(experiment(tmp_path, {"method": "fedprox", "seed": [0, 1], "tuned": str(file)}))
    assert plain.tuning == tuned.tuning == {"file": "best", "options": ["trainer.lr=0.125"], "trials": 5, "seed": 100}
    chosen = experiment(tmp_path, {"method": "fedprox", "tuned": str(file)})
    (untuned,) = cells([*chosen, "tuned=null"])
    assert untuned.tuning == {"trials": 0}
    with pytest.raises(OptionError, match="has no method 'tuning'"):
        cells(experiment(tmp_path, {"method": "tuning", "tuned": str(file)}))


def test_the_published_options_say_how_they_were_tuned() -> None:
    how = Tuned.of({"tuned": "core", "method": "fedavg"}).tuning
    assert (how["trials"], how["seed"], how["local_steps"]) == (5, 100, 96)
    dataset = Phantom(size=64, slices=4, train=12, val=5, test=20)
    assert how["data"] == {site: dataset.fingerprint(site) for site in dataset.contrasts()}


def test_a_method_that_was_not_tuned_is_named(tmp_path: Path) -> None:
    file = tmp_path / "best.yaml"
    file.write_text("local: []\n")
    with pytest.raises(OptionError, match="has no method 'fedavg'; there are local; tuned=null does without"):
        cells(experiment(tmp_path, {"method": "fedavg", "tuned": str(file)}))
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("local\n")
    with pytest.raises(OptionError, match="must be a mapping of methods to lists"):
        cells(experiment(tmp_path, {"method": "fedavg", "tuned": str(wrong)}))


@pytest.mark.parametrize(
    "value",
    [
        *(
            "T1->T2",
            "it's",
            r"a\'b",
            r"\ ".strip(),
            "null",
            "true",
            "1",
            "",
            "a,b",
            "[x]",
            "none",
            "of_fedavg",
            " x ",
        ),
        *(None, True, False, 3, -1.5, 1e-9, [["T1->T2"], ["a b"]], {"ixi": ["T1->T2"], "n": 1}, []),
    ],
)
def test_a_value_of_a_grid_arrives_as_it_was(value: Any) -> None:
    parser = OverridesParser.create()
    for values in ([value], [value, 7]):
        cell, *_ = combinations(parser.parse_overrides([f"key={sweep_literal(values)}"]))
        assert parser.parse_override(f"key={cell['key']}").value() == value


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_GRIDS)
def test_every_experiment_s_cells_can_be_run(name: str) -> None:
    own = [] if name != "core" else ["scenario=ambiguous"]
    found = cells([f"experiment={name}", "seed=0", *own])
    assert len(found) > 1
    assert {cell.run.seed for cell in found} == {0}


def test_the_rival_study_asks_of_t1_t2_and_flair_at_five_sites() -> None:
    """Two with tumours and three without, which normalise alike or not."""
    found = cells(["experiment=rival_study", "method=fedavg", "seed=0"])
    asked = {
        (cell.run.scenario.tasks["default"][0], bool(cell.run.scenario.normalise), cell.run.trainer.server_rule.name)
        for cell in found
    }
    directions = ("T1->T2", "T1->FLAIR", "T2->FLAIR")
    rules = ((False, "mean"), (True, "mean"), (False, "trimmed_mean"))
    assert asked == {(direction, *rule) for direction in directions for rule in rules}
    assert len(found) == len(asked)
    (sites,) = {tuple(cell.run.scenario.sites) for cell in found}
    assert sorted(site.split("-")[1] for site in sites) == ["brats"] * 2 + ["oasis"] * 3
