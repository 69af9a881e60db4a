"""Folders of NIfTI volumes as sites: which files, which slices and splits, what is cached and what is refused."""

from __future__ import annotations

import shutil
import tracemalloc
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from volumes import SCANS, SHAPE, dataset, four_subjects, head, sampled, turned, write

from fedsynth.datasets import volume
from fedsynth.datasets.nifti import Nifti
from fedsynth.datasets.phantom import Phantom
from fedsynth.federation import SPLITS, Federation, FederationError, Scenario


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return four_subjects(tmp_path / "north")


# Which slices


def test_slices_are_the_head_at_the_pixels_said(folder, tmp_path):
    site = dataset(folder, size=24, foreground=0.5).load("north", tmp_path / "cache")
    assert site.contrasts == ("T1", "T2")
    voxels, _ = sampled()
    white = volume.read(folder / "ann" / "T1.nii.gz").white
    area = volume.foreground(
        sum(sampled(contrast=c)[0] / volume.read(folder / "ann" / f"{c}.nii.gz").white for c in ("T1", "T2"))
    )
    chosen = [k for k in range(12) if area[:, :, k].sum() >= 0.5 * area.sum(axis=(0, 1)).max()]
    assert 3 < len(chosen) < 12
    ann = next(subject for subject in site.subjects if subject.name == "ann")
    assert ann.slices.stop - ann.slices.start == len(chosen)
    for n, k in enumerate(chosen):
        expected = np.full((24, 24), -1.0)
        for row, column in product(range(24), range(24)):
            x, y = column - 12 + 10, 25 - (row - 12 + 13)
            if 0 <= x < 21 and 0 <= y < 26:
                expected[row, column] = 2 * min(1, voxels[x, y, k] / white) - 1
                assert site.masks[ann.slices][n, row, column] == area[x, y, k]
        np.testing.assert_allclose(site.images[ann.slices][n, 0], expected, atol=6e-4)  # half a step of float16 below 1


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("nii", {"dtype": np.float64, "order": ">"}),
        ("nii.gz", {"kind": nibabel.Nifti2Image}),
        ("img", {"kind": nibabel.Nifti1Pair}),
    ],
)
def test_orientation_type_and_container_change_no_array(folder, tmp_path, suffix, options):
    plain = dataset(folder).load("north", tmp_path / "cache")
    for subject, codes in {"ann": "LPS", "bob": "SAL", "cyd": "IRP", "dan": "RAS"}.items():
        write(tmp_path / "other" / subject / f"T1.{suffix}", *sampled(codes), **options)
        write(tmp_path / "other" / subject / f"T2.{suffix}", *sampled(codes[::-1], contrast="T2"), **options)
    site = dataset(tmp_path / "other", pattern=f"{{subject}}/{{contrast}}.{suffix}").load("north", tmp_path / "cache")
    assert site.subjects == plain.subjects
    np.testing.assert_array_equal(site.images, plain.images)
    np.testing.assert_array_equal(site.masks, plain.masks)


def test_scaled_integers_give_the_same_slices_to_their_precision(folder, tmp_path):
    plain = dataset(folder).load("north", tmp_path / "cache")
    for subject, contrast in product(["ann", "bob", "cyd", "dan"], ["T1", "T2"]):
        write(tmp_path / "other" / subject / f"{contrast}.nii", *sampled(contrast=contrast), dtype=np.int16, slope=0.05)
    site = dataset(tmp_path / "other", pattern="{subject}/{contrast}.nii").load("north", tmp_path / "cache")
    assert site.subjects == plain.subjects
    np.testing.assert_allclose(site.images, plain.images, atol=2e-3)


def test_no_slice_is_squashed(tmp_path):
    """Pixels of 2 x 5 mm: every slice still shows the head where it is in mm, upright and round."""
    shape, spacing = (50, 22, 8), (2.0, 5.0, 8.0)
    for subject in ("ann", "bob", "cyd"):
        write(tmp_path / "in" / subject / "T1.nii.gz", *sampled("ASR", shape, spacing))
    site = dataset(tmp_path / "in", size=50, spacing=2.0, foreground=0.6).load("north", tmp_path / "cache")
    read = volume.read(tmp_path / "in" / "ann" / "T1.nii.gz")
    chosen = volume.foreground(read.voxels).sum(axis=(0, 1))
    levels = np.flatnonzero(chosen >= 0.6 * chosen.max())
    middle_row = -5.0  # mm: the voxel 11th from the front of 22 is the 10th from behind, the 11th lies at 0
    for n, level in enumerate(levels):
        x, y = np.meshgrid((np.arange(50) - 25) * 2.0, middle_row - (np.arange(50) - 25) * 2.0)
        expected = head(np.stack([x, y, np.full_like(x, (level - 4) * 8.0)], axis=-1)) / read.white
        shown = (site.images[n, 0].astype(float) + 1) / 2
        assert np.abs(shown - expected.clip(0, 1)).mean() < 0.01  # 5 mm voxels interpolated
        spread, true = (
            [np.sqrt(np.cov(axis.ravel(), aweights=picture.ravel())) for axis in (x, y)]
            for picture in (shown, expected)
        )
        np.testing.assert_allclose(spread, true, rtol=0.05)


def test_phantom_volumes_come_back_whatever_their_storage(tmp_path):
    """The phantom's slices, stored as a scanner might, are found where they were, with its true head as foreground."""
    phantom = Phantom(size=48, slices=4)
    stored = {
        "train000": ("LPI", np.int16, 0.5, ">"),
        "val000": ("SRA", np.float32, 0, "<"),
        "test000": ("PIR", np.uint8, 8.0, "<"),
    }
    for subject, (codes, dtype, slope, order) in stored.items():
        images, _ = phantom.subject("brats", subject)
        for channel, contrast in enumerate(phantom.contrasts()["brats"]):
            voxels = 1000 * (images[:, channel, ::-1].astype(float).T + 1)  # right, front, up
            stack = turned(voxels, np.diag([4.0, 4.0, 12.0, 1.0]), codes)
            write(tmp_path / "in" / subject / f"{contrast}.nii", *stack, dtype=dtype, slope=slope, order=order)
    prepared = dataset(tmp_path / "in", size=48, pattern="{subject}/{contrast}.nii", foreground=0.01)
    made = prepared.load("north", tmp_path / "cache")
    assert made.contrasts == tuple(phantom.contrasts()["brats"])
    for subject in made.subjects:
        images, masks = phantom.subject("brats", subject.name)
        for channel in range(3):
            given, found = (a[:, channel].astype(float).ravel() + 1 for a in (images, made.images[subject.slices]))
            assert np.corrcoef(given, found)[0, 1] > 0.999
            assert (found * given).sum() / (given * given).sum() == pytest.approx(1, abs=0.15)  # its gain is taken out
        both = made.masks[subject.slices] & masks
        assert 2 * both.sum() / (made.masks[subject.slices].sum() + masks.sum()) > 0.97


def test_slices_are_thinned_evenly(folder, tmp_path):
    every = dataset(folder).load("north", tmp_path / "cache")
    few = dataset(folder, slices=3).load("north", tmp_path / "cache")
    rows = every.subjects[0].slices
    n = rows.stop - rows.start
    np.testing.assert_array_equal(few.images[:3], every.images[rows][[int(n / 6), int(n / 2), int(5 * n / 6)]])
    assert all(s.slices.stop - s.slices.start == 3 for s in few.subjects)


def test_preparing_holds_one_subject_at_a_time(tmp_path):
    peaks = []
    for count in (4, 16):
        for i in range(count):
            write(tmp_path / f"{count}" / f"s{i}" / "T1.nii", *sampled())
        tracemalloc.start()
        made = dataset(tmp_path / f"{count}", size=96, spacing=1.5, pattern="{subject}/{contrast}.nii")
        made.load("north", tmp_path / "cache")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_real_scan_becomes_slices(tmp_path):
    """The first time point of nibabel's 4-D example: 128 x 96 x 24 voxels of 2 x 2 x 2.2 mm, axes left, anterior, superior."""
    image = nibabel.load(SCANS / "example4d.nii.gz")
    for subject, codes in (("ann", "LAS"), ("bob", "RAS"), ("cyd", "PIR")):
        first = turned(image.dataobj[..., 0], image.affine, codes)
        write(tmp_path / "in" / subject / "T1.nii.gz", *first, dtype=np.int16)
    site = dataset(tmp_path / "in", size=128, spacing=2.0).load("north", tmp_path / "cache")
    n = site.images.shape[0] // 3
    voxels = image.get_fdata()[::-1, ::-1, :, 0]  # right, back, up
    white = volume.read(tmp_path / "in" / "ann" / "T1.nii.gz").white
    expected = np.zeros((128, 128))
    expected[16:112] = voxels[:, :, 12].T / white
    middle = [i for i in range(n) if np.abs((site.images[i, 0] + 1) / 2 - expected.clip(0, 1)).max() < 1e-3]
    assert len(middle) == 1
    for other in (1, 2):
        np.testing.assert_array_equal(site.images[other * n : (other + 1) * n], site.images[:n])
    brain = site.masks[middle[0]].sum() * 4  # mm2
    assert 10_000 < brain < 25_000


def test_a_field_of_view_that_cuts_the_head_is_refused(folder, tmp_path):
    with pytest.raises(
        FederationError, match=r"ann: \d\d% of the foreground of .*ann/T1.nii.gz, \d\d mm across, lies outside 32 pix"
    ):
        dataset(folder, spacing=1.0).load("north", tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_volume_without_a_head_is_refused(folder, tmp_path):
    voxels = np.zeros(SHAPE)
    voxels[::4, ::4, ::4] = 1
    for contrast in ("T1", "T2"):
        write(folder / "cyd" / f"{contrast}.nii.gz", voxels, np.diag([4, 4, 6, 1]))
    with pytest.raises(FederationError, match=r"subject cyd: no foreground in .*cyd/T1.nii.gz; leave the subject out"):
        dataset(folder).load("north", tmp_path / "cache")


# Which files


@pytest.mark.parametrize(
    ("pattern", "names", "subject", "contrasts", "volumes", "others"),
    [
        (
            "IXI-{contrast}/{subject}-{contrast}.nii.gz",
            {"T1": "T1", "PD": "PD"},
            "IXI002-Guys-0828",
            ("T1", "PD"),
            ["IXI-PD/IXI002-Guys-0828-PD.nii.gz", "IXI-T1/IXI002-Guys-0828-T1.nii.gz"],
            ["IXI-T1/IXI002-Guys-0828-T2.nii.gz"],  # one and the same placeholder, two texts
        ),
        (
            "{subject}/{subject}_{contrast}.nii.gz",
            {"t1": "T1", "t1_ce": "T1ce", "t2": "T2"},
            "B_1",
            ("T1", "T2", "T1ce"),
            ["B_1/B_1_t1.nii.gz", "B_1/B_1_t1_ce.nii.gz", "B_1/B_1_t2.nii.gz"],
            ["B_1/B_1_seg.nii.gz", "notes.txt"],
        ),
        (
            "sub-{subject}/ses-*/anat/*_{contrast}.nii.gz",
            {"T1w": "T1", "T2w": "T2"},
            "1",
            ("T1", "T2"),
            ["sub-1/ses-a/anat/sub-1_T1w.nii.gz", "sub-1/ses-a/anat/x_T2w.nii.gz"],
            ["sub-1/ses-a/func/sub-1_T1w.nii.gz"],
        ),
        (
            "{subject}{contrast}.nii",
            {"T1": "T1", "T2": "T2"},
            "a b é[1]",
            ("T1", "T2"),
            ["a b é[1]T1.nii", "a b é[1]T2.nii"],
            [".hiddenT1.nii", "aT1.nii.gz"],
        ),
    ],
)
def test_patterns_find_the_volumes_people_have(
    tmp_path, monkeypatch, pattern, names, subject, contrasts, volumes, others
):
    for file in volumes + others:
        (tmp_path / "a [b]" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a [b]" / file).touch()  # empty: listing opens none
    monkeypatch.chdir(tmp_path)
    apart = Nifti(sites={"north": "a [b]"}, pattern=pattern, contrast_names=names)
    in_one = Nifti(sites={"north": f"a [b]/{pattern}"}, contrast_names=names)
    for made in (apart, in_one):
        assert made.contrasts() == {"north": contrasts}
        listing = made._list("north")
        assert list(listing) == [subject]
        assert sorted(path.as_posix() for path in listing[subject].values()) == [f"a [b]/{file}" for file in volumes]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda at: Nifti(), "names no site; give each a folder, as in [+]dataset.sites"),
        (lambda at: dataset(at / "none"), r"site north: there is no folder .*none; correct dataset.sites.north"),
        (lambda at: dataset(at, pattern="{subject}.nii.gz"), r"must hold \{subject\} and \{contrast\}"),
        (lambda at: dataset(at, pattern="{subject}/{session}/{contrast}.nii"), "no other braces"),
        (lambda at: dataset(at, pattern="**/{subject}/{contrast}.nii"), r"no \*\*"),
        (lambda at: dataset(at, pattern="{subject}/{contrast}.nii"), "among FLAIR, T1, T2, PD; found nothing"),
        (lambda at: dataset(at, contrast_names={"t1": "T1"}), r"among t1; found .*ann/T1.nii.gz.*correct the pattern"),
        (lambda at: dataset(at, contrast_names={}), "a contrast among none; found"),
        (
            lambda at: dataset(at, contrast_names={"T1": "T1", "T2": "T1"}),
            r"ann has two volumes of T1, .*T1.nii.gz and .*T2.nii.gz",
        ),
        (lambda at: (at / "bob" / "T2.nii.gz").unlink(), r"bob has .*bob/T1.nii.gz but no volume of T2, .*; add it"),
        (lambda at: Nifti(sites={"a/b": str(at)}), "site 'a/b': a site's name consists of letters"),
        (lambda at: Nifti(size=0), "size 0 and spacing 1.0 must be positive"),
        (lambda at: Nifti(foreground=0.0), r"foreground 0.0 in \(0, 1\]"),
        (lambda at: Nifti(val=0.5, test=0.5), "val 0.5 and test 0.5 must be positive and leave a share to train"),
    ],
)
def test_what_cannot_be_a_site_is_refused_before_any_volume_is_read(folder, damage, message):
    with pytest.raises(FederationError, match=message):
        (damage(folder) or dataset(folder)).contrasts()


def test_an_unknown_site_and_too_few_subjects_are_refused(folder, tmp_path):
    with pytest.raises(FederationError, match=r"no site 'south'; dataset.sites names north"):
        dataset(folder).load("south", tmp_path / "cache")
    for name in ("ann", "bob"):
        shutil.rmtree(folder / name)
    with pytest.raises(
        FederationError, match=r"north has 2 subjects \(cyd, dan\) and needs one in each of train, val, test"
    ):
        dataset(folder).load("north", tmp_path / "cache")


# Splits


def test_a_subject_keeps_its_split_when_others_join():
    names = [f"sub-{i:04}" for i in range(2000)]
    made = Nifti(seed=3)
    all_of_them = made._splits("north", names)
    for some in (names[:1000], names[::-1][:300], names[500:900]):
        assert made._splits("north", some) == {name: all_of_them[name] for name in some}
    shares = [list(all_of_them.values()).count(split) / 2000 for split in SPLITS]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.03)
    assert made._splits("south", names) != all_of_them != Nifti(seed=4)._splits("north", names)


def test_the_smallest_sites_have_a_subject_in_each_split():
    for count, seed in product((3, 4, 5, 8), range(20)):
        splits = Nifti(seed=seed, val=0.4, test=0.4)._splits("north", [f"s{i}" for i in range(count)])
        assert set(splits.values()) == set(SPLITS)
        assert len(splits) == count


# The cache


def test_an_unchanged_input_is_read_once(folder, tmp_path, monkeypatch):
    first = dataset(folder).load("north", tmp_path / "cache")
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == [
        f"nifti-north-{dataset(folder).fingerprint('north')[:16]}"
    ]
    monkeypatch.setattr(nibabel, "load", lambda *a, **k: pytest.fail("a volume was read"))
    (folder / "ann" / "T1.nii.gz").touch()  # its time, not its content
    shutil.copytree(folder, tmp_path / "moved")
    for place in (folder, tmp_path / "moved"):
        again = Nifti(sites={"north": str(place), "south": "elsewhere"}, size=32, spacing=4.0).load(
            "north", tmp_path / "cache"
        )
        assert again.subjects == first.subjects
        np.testing.assert_array_equal(again.images, first.images)
        assert isinstance(again.images, np.memmap)


def test_whatever_changes_the_arrays_changes_the_fingerprint(folder, monkeypatch):
    seen = {dataset(folder).fingerprint("north")}
    for change in (
        {"size": 33},
        {"spacing": 4.1},
        {"foreground": 0.4},
        {"slices": 2},
        {"val": 0.2},
        {"test": 0.3},
        {"seed": 1},
    ):
        seen.add(dataset(folder, **change).fingerprint("north"))
    seen.add(dataset(folder, contrast_names={"T1": "T1"}).fingerprint("north"))
    seen.add(dataset(folder, contrast_names={"T1": "T2", "T2": "T1"}).fingerprint("north"))
    write(folder / "dan" / "T2.nii.gz", *sampled(contrast="T1"))
    seen.add(dataset(folder).fingerprint("north"))
    (folder / "dan").rename(folder / "eve")
    seen.add(dataset(folder).fingerprint("north"))
    assert len(seen) == 12


def test_both_halves_of_a_pair_count(tmp_path):
    for subject in ("ann", "bob", "cyd"):
        write(tmp_path / subject / "T1.img", *sampled(), kind=nibabel.Nifti1Pair)
    pairs = dataset(tmp_path, pattern="{subject}/{contrast}.img")
    before = pairs.fingerprint("north")
    header = tmp_path / "ann" / "T1.hdr"
    header.write_bytes(header.read_bytes()[:-1] + b"x")
    assert pairs.fingerprint("north") != before
    header.unlink()
    with pytest.raises(FederationError, match=r"ann.T1\.hdr cannot be read \(No such file or directory\)"):
        pairs.load("north", tmp_path / "cache")


def test_a_changed_volume_is_read_again(folder, tmp_path):
    before = dataset(folder).load("north", tmp_path / "cache")
    write(folder / "ann" / "T1.nii.gz", *(lambda v, a: (v[::-1] + 1, a))(*sampled()))
    after = dataset(folder).load("north", tmp_path / "cache")
    assert not np.array_equal(before.images[before.subjects[0].slices], after.images[after.subjects[0].slices])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_command_line_names_sites_and_a_scenario_makes_their_federation(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "south é")
    ConfigStore.instance().store(name="nifti_alone", node=Nifti)
    overrides = [
        "size=32",
        "spacing=4",
        f"+sites.north={folder}",
        f"+sites.south='{tmp_path}/south é/{{subject}}/{{contrast}}.nii.gz'",
        "~contrast_names.PD",
        "+contrast_names.t1=T1",
    ]
    with initialize(version_base="1.3"):
        made = OmegaConf.to_object(compose("nifti_alone", overrides))
    assert isinstance(made, Nifti)
    assert made.contrast_names == {"T1": "T1", "T2": "T2", "FLAIR": "FLAIR", "t1": "T1"}
    assert made.contrasts() == {"north": ("T1", "T2"), "south": ("T1", "T2")}
    scenario = Scenario("two", ["south", "north"], {"default": ["T1->T2"]})
    federation = Federation.load(scenario, made, tmp_path / "cache")
    assert federation.names == ("north", "south")
    assert federation.size == (32, 32)
