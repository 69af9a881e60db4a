"""Prepared folders as one federation: sites of the same name are kept apart, and no volume lies in two folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import trees
from support.federations import options, resnet

from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.prepared import Prepared
from fedsynth.federation import FederationError
from fedsynth.federation.scenario import Scenario
from fedsynth.methods.fedavg import FedAvg
from fedsynth.trainer import Trainer


@pytest.mark.slow
def test_two_layouts_and_the_phantom_train_in_one_federation(tmp_path: Path) -> None:
    trees.ixi(tmp_path / "ixi", 3)
    trees.bids(tmp_path / "bids", 3)
    stores = [trees.layout("ixi", tmp_path / "ixi").prepare(), trees.layout("bids", tmp_path / "bids").prepare()]
    stores.append(Prepared.keep(Phantom(size=trees.SIZE, slices=2, train=2, val=1, test=1), tmp_path / "phantom"))
    dataset = Prepared([str(store.folder) for store in stores])
    assert set(dataset.contrasts()) == {"Guys", "HH", "IOP", "Ward_3", "MR-2", "brats", "ixi", "midas", "oasis"}
    laid = trees.layout("ixi", tmp_path / "ixi")
    for digest in (
        "fingerprint",
        "test_fingerprint",
    ):  # runs on the folder and on what was prepared from it share tables
        assert getattr(laid, digest)("Guys") == getattr(dataset, digest)("Guys")
    sites = ["Guys", "MR-2", "midas"]
    scenario = Scenario("mixed", sites, {"Guys": ["T1->T2", "T2->PD"], "default": ["T1->T2"]})
    federation = scenario.federation(dataset, tmp_path / "cache")
    outcome = Trainer(FedAvg(), resnet(), federation, options(), seed=0, folder=tmp_path / "run").run()
    assert {row["site"] for row in outcome.scores} == set(sites)
    assert {row["subject"] for row in outcome.scores if row["site"] == "MR-2"} == {
        subject.name for subject in federation.sites["MR-2"].of("test")
    }


def test_a_prefix_separates_sites_of_the_same_name(tmp_path: Path) -> None:
    small = Phantom(size=trees.SIZE, slices=1, train=1, val=1, test=1)
    for name in ("a", "b"):
        Prepared.keep(small, tmp_path / name)
    with pytest.raises(
        FederationError, match=r"site brats is in .*/a and in .*/b; give .*folders=\[.*/a,second:.*/b\]"
    ):
        Prepared([str(tmp_path / "a"), str(tmp_path / "b")]).contrasts()
    both = Prepared([str(tmp_path / "a"), f"second:{tmp_path / 'b'}"])
    assert set(both.contrasts()) == {f"{prefix}{site}" for prefix in ("", "second-") for site in small.contrasts()}
    assert both.load("second-ixi", tmp_path).name == "second-ixi"
    assert both.fingerprint("second-ixi") == both.fingerprint("ixi")
    with pytest.raises(
        FederationError, match=r"no site 'third'; the data|no site 'third' in dataset.folders; there are brats"
    ):
        both.load("third", tmp_path)


def test_a_volume_in_two_folders_is_refused(tmp_path: Path) -> None:
    trees.midas(tmp_path / "midas")
    trees.midas(tmp_path / "again" / "clinic", 3)
    shutil.copytree(tmp_path / "midas" / "Normal-003", tmp_path / "again" / "clinic" / "x")
    for store in (trees.layout("midas", tmp_path / "midas"), trees.layout("folder", tmp_path / "again")):
        store.prepare()
    with pytest.raises(
        FederationError, match=r"subject \S+ of .*again-store is subject Normal-00\d of .*midas-store: their T1"
    ):
        Prepared([str(tmp_path / "midas-store"), str(tmp_path / "again-store")]).contrasts()
