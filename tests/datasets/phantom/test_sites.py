"""The phantom with more than four sites: each differs from the others, and is the same however many there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.phantom.signals import Mprage, SpinEcho
from fedsynth.datasets.phantom.sites import PRESETS
from fedsynth.federation import FederationError

FOUR = ("brats", "ixi", "midas", "oasis")
SWITCHES = ("same_protocol", "same_quality", "same_population", "keep_skull", "same_fov")
SMALL = {"size": 32, "slices": 2, "train": 1, "val": 1, "test": 1}


def test_four_sites_are_the_presets_and_more_are_named_after_them() -> None:
    assert list(Phantom(sites=4).contrasts()) == list(FOUR)
    more = Phantom(sites=6).contrasts()
    assert list(more) == ["s00-ixi", "s01-brats", "s02-midas", "s03-oasis", "s04-ixi", "s05-brats"]
    assert more["s04-ixi"] == ("T1", "T2", "PD")


def test_every_one_of_64_sites_is_different() -> None:
    phantom = Phantom(sites=64)
    hospitals = {site: phantom.hospital(site) for site in phantom.contrasts()}
    assert len(hospitals) == 64
    assert len({one.age[0] for one in hospitals.values()}) == 64
    assert len({one.age[1] - one.age[0] for one in hospitals.values()}) == 64
    assert len({repr(one.acquisitions["T1"]) for one in hospitals.values()}) == 64
    assert 20 <= sum(one.field == 1.5 for one in hospitals.values()) <= 44  # even odds: 64 x 0.5, give or take 3 sd
    for site, one in hospitals.items():
        preset = PRESETS[site[4:]]
        assert 18 <= one.age[0] < one.age[1] <= 90
        assert 15 <= one.age[1] - one.age[0] <= 40
        assert one.acquisitions.keys() == preset.acquisitions.keys()
        for name in ("fov", "stripped", "bias", "dome", "jitter", "misregistration", "tumour", "wmh"):
            assert getattr(one, name) == getattr(preset, name)


def test_protocols_vary_around_the_preset_and_a_train_fits_into_its_cycle() -> None:
    found = []
    for seed in range(10):
        phantom = Phantom(sites=64, seed=seed)
        for site in phantom.contrasts():
            acquisitions = phantom.hospital(site).acquisitions
            own, preset = acquisitions["T2"].sequence, PRESETS[site[4:]].acquisitions["T2"].sequence
            assert isinstance(own, SpinEcho)
            assert isinstance(preset, SpinEcho)
            found.append(np.log(own.te / preset.te))
            if isinstance(sequence := acquisitions["T1"].sequence, Mprage):
                half = sequence.pulses * sequence.spacing / 2
                assert sequence.ti > half
                assert sequence.tr > sequence.ti + half
    assert np.mean(found) == pytest.approx(0, abs=0.015)  # of 640 draws; their mean has an sd of 0.005
    assert np.std(found) == pytest.approx(0.12, abs=0.015)


def test_sizes_are_log_normal_with_the_given_median() -> None:
    counts = []
    for seed in range(10):
        phantom = Phantom(sites=64, seed=seed, train=100)
        counts += [phantom.training_subjects(site) for site in phantom.contrasts()]
    assert np.mean(np.log(counts)) == pytest.approx(np.log(100), abs=0.08)  # its sd is 0.6 / sqrt(640) = 0.024
    assert np.std(np.log(counts)) == pytest.approx(0.6, abs=0.06)
    assert {Phantom(sites=64, train=1).training_subjects(site) for site in phantom.contrasts()} >= {1, 2}  # never 0
    assert {Phantom().training_subjects(site) for site in FOUR} == {12}


def test_a_site_is_the_same_among_16_and_among_64(tmp_path: Path) -> None:
    few, many = Phantom(sites=16, **SMALL), Phantom(sites=64, **SMALL)
    for site in few.contrasts():
        assert few.hospital(site) == many.hospital(site)
        assert few.training_subjects(site) == many.training_subjects(site)
        assert few.fingerprint(site) == many.fingerprint(site)
    np.testing.assert_array_equal(few.render("s06-midas").images, many.load("s06-midas", tmp_path).images)
    assert len(many.render("s06-midas").of("train")) == many.training_subjects("s06-midas")
    assert few.hospital("s06-midas") != Phantom(sites=16, seed=1).hospital("s06-midas")


def test_switches_make_64_sites_alike_too() -> None:
    phantom = Phantom(sites=64, **dict.fromkeys(SWITCHES, True))
    kinds = {site[4:]: phantom.hospital(site) for site in list(phantom.contrasts())[:4]}
    assert all(phantom.hospital(site) == kinds[site[4:]] for site in phantom.contrasts())


def test_hospitals_of_a_kind_may_share_its_protocol_and_field() -> None:
    own, alike = Phantom(sites=8), Phantom(sites=8, same_kind=True)
    for site in alike.contrasts():
        preset, hospital = PRESETS[site[4:]], alike.hospital(site)
        assert (hospital.acquisitions, hospital.field) == (preset.acquisitions, preset.field)
        assert hospital.age == own.hospital(site).age != preset.age
        assert alike.fingerprint(site) != own.fingerprint(site)
    assert Phantom(same_kind=True).hospital("ixi") == PRESETS["ixi"]


@pytest.mark.parametrize("sites", [3, 65])
def test_an_invalid_number_of_sites_is_refused(sites: int) -> None:
    with pytest.raises(FederationError, match=f"dataset.sites={sites}: the phantom has 4 to 64"):
        Phantom(sites=sites)
