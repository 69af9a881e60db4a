"""Scenarios: what they make of a data set, what cannot be, and every file of conf/scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.federations import site
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.identity import plain, scenario_identity as told, scenario_of
from fedsynth.benchmarks.records.record import expected_scores, read_scores, welcome_scores
from fedsynth.datasets.phantom import Phantom
from fedsynth.federation import FederationError
from fedsynth.federation.intensities import Normalisation, rescaled
from fedsynth.federation.scenario import Scenario, misaligned, with_few

SCENARIOS = sorted((ROOT / "conf" / "scenario").glob("*.yaml"))


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


def test_a_slice_is_scaled_by_its_own_minimum_and_maximum() -> None:
    own = site("ixi")
    own = replace(own, images=own.images / 2)
    found = rescaled(own, Normalisation.slice).images.astype(np.float32)
    values = own.images.astype(np.float32)
    low, high = values.min((2, 3), keepdims=True), values.max((2, 3), keepdims=True)
    np.testing.assert_allclose(found, 2 * (values - low) / (high - low) - 1, atol=2e-3)  # float16
    assert (found.min((2, 3)) == -1).all()
    assert (found.max((2, 3)) == 1).all()


def test_a_z_score_is_of_the_foreground_of_a_subject_and_ends_at_three_standard_deviations() -> None:
    own = site("ixi", slices=3)
    found = rescaled(own, Normalisation.zscore).images.astype(np.float32)
    for subject in own.subjects:
        for channel in range(4):
            values, inside = own.images[subject.slices, channel].astype(np.float64), own.masks[subject.slices]
            z = (values - values[inside].mean()) / values[inside].std()
            np.testing.assert_allclose(found[subject.slices, channel], np.clip(z / 3, -1, 1), atol=2e-3)


def test_sites_without_an_entry_are_normalised_as_the_data_set_is(tmp_path: Path) -> None:
    phantom = Phantom(size=16, slices=1, train=1, val=1, test=1)
    given: dict[str, Any] = {"name": "two", "sites": ["ixi", "oasis"], "tasks": {"default": ["T1->T2"]}}
    usual = Scenario(**given).federation(phantom, tmp_path)
    other = Scenario(**given, normalise={"oasis": Normalisation.zscore}).federation(phantom, tmp_path)
    assert np.array_equal(usual.sites["ixi"].images, other.sites["ixi"].images)
    assert not np.array_equal(usual.sites["oasis"].images, other.sites["oasis"].images)


def test_few_training_subjects_are_the_first_ones() -> None:
    own = site("ixi", train=4)
    few = with_few(own, 2)
    assert [s.name for s in few.of("train")] == [s.name for s in own.of("train")][:2]
    for split in ("val", "test"):
        np.testing.assert_array_equal(few.images[few.rows(split)], own.images[own.rows(split)])
    np.testing.assert_array_equal(few.images[few.rows("train")], own.images[own.rows("train")][:4])
    assert with_few(own, 9) is own


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
        ({"normalise": {"oasys": Normalisation.slice}}, "normalise names 'oasys', which is none of its sites"),
        ({"shift": {"*x": 1}}, "shift names '\\*x', which is none of its sites"),
        ({"newcomers": ["*xi"]}, "newcomers names '\\*xi', which is none of its sites"),
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
