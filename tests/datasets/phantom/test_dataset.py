"""The simulated federation: a scan and its faults, determinism, the cache, and what the switches remove."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.phantom.dataset import STORED
from fedsynth.datasets.phantom.scanner import Exposure, Scan
from fedsynth.datasets.phantom.signals import SpinEcho
from fedsynth.datasets.phantom.sites import PRESETS, Acquisition, Hospital, hospital
from fedsynth.datasets.phantom.tissues import INDEX
from fedsynth.federation import FederationError
from fedsynth.federation.scenario import Scenario

SITES = ("brats", "ixi", "midas", "oasis")
SWITCHES = ("same_protocol", "same_quality", "same_population", "keep_skull", "same_fov")


def scan(site: str = "ixi", name: str = "test000", size: int = 48, **differences: object) -> Scan:
    preset = replace(PRESETS[site], **differences)
    return Scan(preset, (0, site, name), size, nuisance=1.0)


def test_a_slice_alone_is_the_slice_in_its_stack() -> None:
    stack = scan("brats")
    heights = np.linspace(-2, 46, 5)
    slices = [stack.slice(z) for z in heights]
    for z, expected in zip(heights[::-1], slices[::-1], strict=True):
        for found, wanted in zip(scan("brats").slice(z), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_noise_is_rician_and_falls_with_pixel_size() -> None:
    for size, pixel in ((51, 4.0), (136, 1.5)):
        one = scan("ixi", size=size)
        corner = round(20 / pixel)
        air = np.concatenate([one.slice(z)[0][:, :corner, :corner].reshape(3, -1) for z in range(0, 40, 2)], axis=1)
        for values, exposure in zip(air, one.exposures.values(), strict=True):
            sigma = 1.6 * exposure.response[0, INDEX["wm"]] / exposure.acquisition.snr / pixel
            assert values.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.06)


def test_misregistration_moves_by_millimetres() -> None:
    one = scan("ixi", size=51)  # 4 mm pixels
    image = np.zeros((51, 51), np.float32)
    image[20:30, 22:28] = 1
    still = Exposure(Acquisition(SpinEcho(1, 1), 1, 1, 1), np.zeros((4, 1)), 0.0, 0.0, np.array([8.0, -4.0]), 1.0)
    np.testing.assert_allclose(one.moved(image, still), np.roll(image, (-2, 1), (0, 1)), atol=1e-6)
    turned = replace(still, turn=np.pi / 2, shift=np.zeros(2))
    np.testing.assert_allclose(one.moved(image, turned), np.rot90(image, -1), atol=1e-5)


def test_t1_is_not_misregistered() -> None:
    exposures = scan("brats").exposures
    assert not exposures["T1"].turn
    assert not exposures["T1"].shift.any()
    assert exposures["T2"].shift.any()
    assert exposures["FLAIR"].turn


def test_averaging_and_blur_keep_the_mean() -> None:
    one = scan("ixi", size=48)  # 4.25 mm pixels, evaluated at a third of that
    assert one.finer == 3
    fine = np.random.default_rng(0).random((2, 144, 144)).astype(np.float32)
    expected = [
        [fine[i, 3 * r : 3 * r + 3, 3 * c : 3 * c + 3].mean() for r in range(48) for c in range(48)] for i in (0, 1)
    ]
    np.testing.assert_allclose(one.averaged(fine).reshape(2, -1), expected, rtol=1e-5)
    sharp = np.zeros((48, 48), np.float32)
    sharp[24, 24] = 1
    assert one.blurred(sharp, Acquisition(SpinEcho(1, 1), 2, 1, 1)) is sharp  # finer than the pixel
    blurred = one.blurred(sharp, Acquisition(SpinEcho(1, 1), 20, 1, 1))  # 2.4 mm through thickness
    assert blurred.sum() == pytest.approx(1, abs=1e-3)
    assert blurred.max() < 0.6


# The federation


SMALL = {"size": 32, "slices": 2, "train": 1, "val": 1, "test": 1}


def test_the_contrasts_of_each_site(tmp_path: Path) -> None:
    owned = Phantom().contrasts()
    assert owned == {
        "brats": ("T1", "T2", "FLAIR"),
        "ixi": ("T1", "T2", "PD"),
        "midas": ("T1", "T2"),
        "oasis": ("T1", "T2", "FLAIR"),
    }
    for site, contrasts in owned.items():
        made = Phantom(**SMALL).load(site, tmp_path)
        assert made.contrasts == contrasts
        assert made.images.shape == (6, len(contrasts), 32, 32)
    with pytest.raises(FederationError, match="needs FLAIR, which site 'midas' lacks"):
        Scenario("s", ["midas"], {"default": ["T2->FLAIR"]}).resolve(Phantom())


@pytest.mark.parametrize("site", SITES)
def test_images_are_bright_inside_the_foreground_and_dark_outside(site: str) -> None:
    images, mask, *_ = Phantom(slices=3).subject(site, "train000")
    assert images.dtype == np.float16
    assert mask.dtype == bool
    assert images.min() >= -1
    assert images.max() <= 1
    outside = images.transpose(1, 0, 2, 3)[:, ~mask].astype(float)
    share = mask.mean()
    if PRESETS[site].stripped:
        assert (outside.max(1) < 0.2).all()  # at the rim only
        assert (outside == -1).mean() > 0.9
        assert 0.15 < share < 0.5
    else:
        assert (outside == -1).mean() < 0.01  # noise
        assert outside.mean() < -0.85
        assert 0.35 < share < 0.75
    inside = images.transpose(1, 0, 2, 3)[:, mask].astype(float)
    assert (inside.mean(1) > outside.mean(1) + 0.3).all()


def test_windows_leave_the_brain_unclipped() -> None:
    images, mask, *_ = Phantom(size=96, slices=4, nuisance=0).subject("oasis", "val000")
    for contrast in range(3):
        brain = (images[:, contrast][mask].astype(float) + 1) / 2
        assert np.percentile(brain, 99.5) == pytest.approx(1 / 1.08, abs=0.01)
        assert (brain == 1).mean() < 0.005


def test_masks_are_the_true_anatomy_whatever_the_faults() -> None:
    for site in SITES:
        _, faulty, *_ = Phantom(**SMALL).subject(site, "test000")
        _, clean, *_ = Phantom(**SMALL, nuisance=0).subject(site, "test000")
        np.testing.assert_array_equal(faulty, clean)


def test_subjects_do_not_depend_on_each_other() -> None:
    few, many = (Phantom(size=32, slices=2, train=n, val=n, test=n).render("midas") for n in (1, 2))
    assert [s.name for s in many.subjects] == ["train000", "train001", "val000", "val001", "test000", "test001"]
    for subject in few.subjects:
        (same,) = (other for other in many.subjects if other.name == subject.name)
        assert same.split == subject.split
        np.testing.assert_array_equal(few.images[subject.slices], many.images[same.slices])
        np.testing.assert_array_equal(few.masks[subject.slices], many.masks[same.slices])


def test_all_subjects_differ() -> None:
    anatomies = [
        Phantom(**SMALL, seed=seed, **dict.fromkeys(SWITCHES, True)).subject(site, name)[0][:, 0].tobytes()
        for seed in (0, 1)
        for site in ("ixi", "oasis")
        for name in ("train000", "train001", "test000")
    ]
    assert len(set(anatomies)) == len(anatomies)


def rounded(images: np.ndarray) -> np.ndarray:
    return np.round((images.astype(np.float32) + 1) * 127.5)


def test_same_seed_same_images_at_any_thread_count(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from fedsynth.datasets.phantom import Phantom;"
        "images = [Phantom(slices=2).subject(site, 'train003')[0][:, :2] for site in ('brats', 'ixi')];"
        "np.save(sys.argv[1], np.concatenate(images))"
    )
    made = []
    for threads in ("1", "2"):
        path = tmp_path / f"{threads}.npy"
        env = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=env)
        made.append(rounded(np.load(path)))
    here = rounded(np.concatenate([Phantom(slices=2).subject(site, "train003")[0][:, :2] for site in ("brats", "ixi")]))
    np.testing.assert_array_equal(made[0], here)
    assert np.abs(made[0] - made[1]).max() <= 1  # another kernel may flip a rounding
    assert (made[0] != made[1]).mean() < 1e-3


# Site -> mean and standard deviation of each contrast of the subject below. If a change of the renderer is to change images,
# raise RENDERER in datasets/phantom/dataset.py, since old caches are used otherwise, and renew these.
GOLDEN = {
    "brats": [(-0.4285, 0.6735), (-0.52, 0.5716), (-0.6433, 0.4597)],
    "ixi": [(-0.4033, 0.6272), (-0.612, 0.4545), (-0.3201, 0.6748)],
    "midas": [(-0.2524, 0.664), (-0.6004, 0.4063)],
    "oasis": [(-0.5589, 0.6004), (-0.6706, 0.448), (-0.4985, 0.6577)],
}


@pytest.mark.parametrize("site", SITES)
def test_images_are_those_of_this_version(site: str) -> None:
    images, *_ = Phantom(size=32, slices=3, seed=5).subject(site, "train000")
    found = [(float(image.mean()), float(image.std())) for image in images.astype(float).transpose(1, 0, 2, 3)]
    assert np.array(found) == pytest.approx(np.array(GOLDEN[site]), abs=2e-3), found


@pytest.mark.parametrize("site", ["brats", "oasis"])
def test_lesions_are_where_the_flair_is_bright(site: str) -> None:
    for person in ("train000", "train001"):
        images, mask, lesions, _ = Phantom(slices=6).subject(site, person)
        flair = images[:, 2].astype(float)
        assert lesions.any()
        assert (lesions & ~mask).sum() == 0
        assert flair[lesions].mean() > flair[mask & ~lesions].mean() + 0.3


def test_lesions_are_stored_where_there_are_any(tmp_path: Path) -> None:
    made = {site: Phantom(**SMALL).load(site, tmp_path) for site in SITES}
    assert {site for site in SITES if made[site].lesions is not None} == {"brats", "oasis"}
    assert Phantom(**SMALL, same_population=True).render("brats").lesions is None
    expected = Phantom(**SMALL).render("brats").lesions
    np.testing.assert_array_equal(made["brats"].lesions, expected)


def test_a_cache_made_before_lesions_were_stored_is_made_anew(tmp_path: Path) -> None:
    small = Phantom(**SMALL)
    old = replace(small.render("brats"), lesions=None)
    old.save(tmp_path / f"phantom-brats-{small.fingerprint('brats')}")
    assert small.load("brats", tmp_path).lesions is not None


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = Phantom(**SMALL).load("ixi", tmp_path)
    masks = next(tmp_path.glob("*/masks.npy"))
    before = masks.read_bytes()
    masks.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert Phantom(**SMALL).load("ixi", tmp_path).seal == first.seal
    assert masks.read_bytes() == before


def test_cache_is_made_once_and_keyed_by_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Phantom(**SMALL).load("ixi", tmp_path)
    folder = tmp_path / f"phantom-ixi-{Phantom(**SMALL).fingerprint('ixi')}-{STORED}"
    assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    monkeypatch.setattr(Phantom, "render", lambda *_: pytest.fail("rendered again"))
    again = Phantom(**SMALL).load("ixi", tmp_path)
    assert again.images.dtype == np.float16
    np.testing.assert_array_equal(first.images, again.images)
    changed = {"nuisance": 0.5, "bias": 3.0, **dict.fromkeys((*SWITCHES, "same_kind"), True)}
    options = [f.name for f in fields(Phantom) if f.name != "sites"]
    prints = {Phantom(**{name: changed.get(name, 99)}).fingerprint("ixi") for name in options}
    assert len(prints | {Phantom().fingerprint("ixi")}) == 1 + len(options)


def test_nothing_is_printed_if_it_takes_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    Phantom(**SMALL).render("midas")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nuisance": 1.5}, "dataset.nuisance=1.5 is outside"),
        ({"bias": 7}, r"dataset.bias=7 is outside \[0, 6\]"),
        ({"size": 8}, "dataset.size=8 is too small; the phantom needs at least 16"),
        ({"val": 0}, "dataset.val=0 is too small; the phantom needs at least 1"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(FederationError, match=message):
        Phantom(**options)


def test_an_unknown_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="no site 'adni'; it has brats, ixi, midas, oasis"):
        Phantom(**SMALL).load("adni", tmp_path)


# Switches


def hospitals(**chosen: float) -> dict[str, Hospital]:
    return {
        site: hospital(PRESETS[site], **{"nuisance": 1.0, "bias": 1.0, **dict.fromkeys(SWITCHES, False), **chosen})
        for site in SITES
    }


def test_without_switches_a_site_is_its_preset() -> None:
    assert hospitals() == PRESETS


def test_each_switch_removes_its_own_difference() -> None:
    for name, made in (switch_made := {name: hospitals(**{name: True}) for name in SWITCHES}).items():
        for site, one in made.items():
            changed = {f.name for f in fields(one) if getattr(one, f.name) != getattr(PRESETS[site], f.name)}
            allowed = {
                "same_protocol": {"acquisitions", "field", "jitter"},
                "same_quality": {"acquisitions", "bias", "dome", "misregistration"},
                "same_population": {"age", "tumour", "wmh"},
                "keep_skull": {"stripped"},
                "same_fov": {"fov"},
            }[name]
            assert changed <= allowed
    one_protocol = [one.acquisitions.items() for one in switch_made["same_protocol"].values()]
    assert len({(contrast, own.sequence) for acquisitions in one_protocol for contrast, own in acquisitions}) == 4
    for one in switch_made["same_quality"].values():
        assert len({(a.thickness, a.fwhm, a.snr) for a in one.acquisitions.values()}) == 1


def test_all_switches_leave_one_kind_of_hospital() -> None:
    alike = hospitals(**dict.fromkeys(SWITCHES, True))
    t1_t2 = [replace(one, acquisitions={c: one.acquisitions[c] for c in ("T1", "T2")}) for one in alike.values()]
    assert all(one == t1_t2[0] for one in t1_t2)


def test_bias_scales_the_receive_fields_alone() -> None:
    assert hospitals(bias=3.0) == {site: replace(one, bias=3 * one.bias) for site, one in PRESETS.items()}
    assert hospitals(bias=3.0, nuisance=0.5)["ixi"].bias == pytest.approx(1.5 * PRESETS["ixi"].bias)


def test_nuisance_scales_what_varies_without_meaning() -> None:
    for site in SITES:
        half, none = (
            hospital(PRESETS[site], nuisance=nuisance, bias=1.0, **dict.fromkeys(SWITCHES, False))
            for nuisance in (0.5, 0.0)
        )
        for name in ("bias", "dome", "jitter", "misregistration"):
            assert getattr(half, name) == getattr(PRESETS[site], name) / 2
            assert getattr(none, name) == 0
        exposures = Scan(none, (0, site, "train000"), 32, nuisance=0.0).exposures
        for contrast, exposure in exposures.items():
            assert exposure.gain == 1
            assert not exposure.shift.any()
            assert exposure.acquisition.sequence == PRESETS[site].acquisitions[contrast].sequence
