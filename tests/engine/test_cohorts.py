"""Cohorts: a number draws other training and validation subjects; sites, scanners and test subjects stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from support.federations import options, site

from fedsynth.benchmarks.config.compose import load_choices
from fedsynth.benchmarks.config.grid import runs
from fedsynth.benchmarks.config.identity import identity, scenario_of
from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.prepared import Prepared
from fedsynth.federation import Federation, Site, Task
from fedsynth.federation.scenario import Scenario, with_few
from fedsynth.federation.site import redivided
from fedsynth.feed import Feed

SMALL = Phantom(size=32, slices=2, train=2, val=1, test=2)


def slices(site: Site, split: str) -> np.ndarray:
    return np.asarray(site.images[site.rows(split)])


def test_a_cohort_of_the_phantom_has_other_people_and_the_same_test_subjects(tmp_path: Path) -> None:
    usual, first, second = (SMALL.load("brats", tmp_path), *(SMALL.load_cohort("brats", n, tmp_path) for n in (0, 1)))
    for other in (first, second):
        np.testing.assert_array_equal(slices(other, "test"), slices(usual, "test"))
        assert other.of("test") == usual.of("test")
    for split in ("train", "val"):
        found = [slices(own, split) for own in (usual, first, second)]
        assert len({array.tobytes() for array in found}) == 3
        assert {array.shape for array in found} == {found[0].shape}
    assert [subject.name for subject in second.subjects] == [
        "c1-train000",
        "c1-train001",
        "c1-val000",
        "test000",
        "test001",
    ]
    again = SMALL.load_cohort("brats", 1, tmp_path / "anew")
    np.testing.assert_array_equal(again.images, second.images)


def test_a_federation_has_the_cohort_of_its_scenario(tmp_path: Path) -> None:
    scenario = Scenario("two", ["ixi", "oasis"], {"default": ["T1->T2"]}, cohort=4)
    of = scenario.federation(SMALL, tmp_path)
    assert all(own.subjects[0].name == "c4-train000" for own in of.sites.values())


def test_training_subjects_do_not_belong_to_the_fingerprint_of_a_test_set() -> None:
    assert SMALL.test_fingerprint("ixi") == replace(SMALL, train=9, val=3).test_fingerprint("ixi")
    for other in (replace(SMALL, test=3), replace(SMALL, seed=1), replace(SMALL, size=48)):
        assert SMALL.test_fingerprint("ixi") != other.test_fingerprint("ixi")
    assert SMALL.test_fingerprint("ixi") != SMALL.test_fingerprint("oasis")


def test_subjects_of_ones_own_are_divided_anew_and_tests_stay() -> None:
    own = site("ixi", train=6, val=3, test=2)
    drawn = [redivided(own, cohort) for cohort in range(20)]
    for other in drawn:
        assert other.of("test") == own.of("test")
        assert [len(other.of(split)) for split in ("train", "val")] == [6, 3]
        assert {subject.name: subject.slices for subject in other.subjects} == {
            subject.name: subject.slices for subject in own.subjects
        }
    assert len({frozenset(s.name for s in other.of("val")) for other in drawn}) > 10
    assert redivided(own, 3).subjects == drawn[3].subjects
    # the only subject of a scarce site differs from cohort to cohort too, and so do those that a newcomer adapts on
    assert len({with_few(other, 1).of("train")[0].name for other in drawn}) > 4


def test_the_slices_of_a_site_that_was_divided_anew_keep_their_names() -> None:
    own = site("ixi", train=4, val=2)
    other = redivided(own, 1)
    assert [s.name for s in other.subjects] != [s.name for s in own.subjects]
    usual, drawn = (
        Feed(Federation({"ixi": one}, {"ixi": (Task("T1", "T2"),)}), "ixi", options(), 0, torch.device("cpu"))
        for one in (own, other)
    )
    assert usual.names == drawn.names


def test_prepared_sites_are_divided_anew_and_their_test_set_keeps_its_fingerprint(tmp_path: Path) -> None:
    Prepared.keep(replace(SMALL, train=5, val=3), tmp_path / "store")
    dataset = Prepared([str(tmp_path / "store")])
    usual, other = dataset.load("ixi", tmp_path), dataset.load_cohort("ixi", 2, tmp_path)
    assert other.of("test") == usual.of("test")
    assert {s.name for s in other.of("val")} != {s.name for s in usual.of("val")}
    before = dataset.fingerprint("ixi"), dataset.test_fingerprint("ixi")
    table = tmp_path / "store" / "splits.csv"
    table.write_text(table.read_text().replace("ixi,train000,train", "ixi,train000,val"))
    assert dataset.fingerprint("ixi") != before[0]
    assert dataset.test_fingerprint("ixi") == before[1]
    table.write_text(table.read_text().replace("ixi,train001,train", "ixi,train001,test"))
    assert dataset.test_fingerprint("ixi") != before[1]
    assert len(dataset.load("ixi", tmp_path).of("test")) == 3


def test_a_sweep_of_seeds_draws_the_cohorts_of_an_experiment() -> None:
    load_choices()
    one, two = runs(["experiment=core", "seed=0,7", "method=local"], multirun=True)
    assert (one.run.scenario.cohort, two.run.scenario.cohort) == (0, 7)
    assert two.identity["scenario"]["cohort"] == 7
    assert scenario_of(two.identity["scenario"]).cohort == 7
    assert one.identity["test"] == two.identity["test"]
    usual = replace(one.run, scenario=replace(one.run.scenario, cohort=None))
    assert identity(usual)["scenario"]["cohort"] is None
