"""Every layout of conf/dataset/ on a folder of its form: sites, subjects, contrasts and slices."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support import trees
from support.source import ROOT

from fedsynth.datasets.layout import Layout, OnError
from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.store.slice_store import numbers
from fedsynth.datasets.volumes import Registration
from fedsynth.federation import SPLITS, FederationError

EXPECTED = {
    "ixi": dict.fromkeys(("Guys", "HH", "IOP"), ("T1", "T2", "PD")),
    "brats2021": {"brats": ("T1", "T2", "FLAIR", "T1ce")},
    "midas": {"midas": ("T1", "T2")},
    "oasis3": {"oasis": ("T1", "T2", "FLAIR")},
    "fastmri_brain": {"fastmri": ("T1", "T2", "FLAIR")},
    "bids": {"Ward_3": ("T1", "T2", "FLAIR"), "MR-2": ("T1", "T2", "FLAIR")},
    "folder": {"north": ("T1", "T2"), "south_é": ("T1", "T2")},
}


def test_every_layout_has_a_tree_here() -> None:
    known = {path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml")}
    assert known == set(trees.TREES) == set(EXPECTED)


@pytest.mark.parametrize("name", trees.TREES)
def test_a_tree_of_every_layout_becomes_its_sites(tmp_path: Path, name: str) -> None:
    root = tmp_path / "a tree [1]"
    trees.TREES[name](root)
    layout = trees.layout(name, root)
    assert {site: tuple(own) for site, own in layout.contrasts().items()} == EXPECTED[name]
    for site, contrasts in EXPECTED[name].items():
        made = layout.load(site, tmp_path / "cache")
        assert made.contrasts == contrasts
        assert made.images.shape == (4 * trees.SLICES, len(contrasts), trees.SIZE, trees.SIZE)
        assert isinstance(made.images, np.memmap)
        assert sorted(subject.split for subject in made.subjects) == ["test", "train", "train", "val"]
        assert all(len(made.of(split)) for split in SPLITS)
        for one, other in combinations(made.subjects, 2):
            assert not np.array_equal(made.images[one.slices], made.images[other.slices])


def test_slices_show_the_subject_whose_name_they_have(tmp_path: Path) -> None:
    """The slices are the phantom's own arrays, upright, in order and each contrast in its channel, up to a gain."""
    trees.brats2021(tmp_path / "in")
    store = trees.layout("brats2021", tmp_path / "in").prepare()
    made = store.site("brats")
    for person, (name, subject) in enumerate(trees.people(store, "brats").items()):
        assert name == f"BraTS2021_{person:05d}"
        for channel, contrast in enumerate(("T1", "T2", "FLAIR")):
            given = trees.stacks("brats", person)[contrast][:, ::-1].T
            found = made.images[subject.slices, channel].astype(float) + 1
            assert np.corrcoef(given.ravel(), found.ravel())[0, 1] > 0.999


def test_a_table_names_the_sites_of_a_pattern_without_one(tmp_path: Path) -> None:
    trees.brats2021(tmp_path / "in", 7)
    lines = [f"BraTS2021_{person:05d},{1 + person % 2}" for person in range(6)]
    (tmp_path / "in" / "partition.csv").write_text("\n".join(["Subject_ID,Partition_ID", *lines]))
    named = {"table": "partition.csv", "table_subject": "Subject_ID", "table_site": "Partition_ID"}
    layout = trees.layout("brats2021", tmp_path / "in", **named, on_error=OnError.skip, site_names={"1": "one"})
    assert set(layout.contrasts()) == {"one", "2"}
    assert [str(one) for one in layout.survey().left_out] == [
        f"site ?, subject BraTS2021_00006: {tmp_path}/in/partition.csv does not name its site; add a line for it"
    ]


def test_the_first_complete_session_is_taken(tmp_path: Path) -> None:
    trees.oasis3(tmp_path / "in")
    first = tmp_path / "in" / "sub-OAS30000" / "ses-d0129" / "anat"
    (first / "sub-OAS30000_ses-d0129_run-01_T2w.nii.gz").unlink()
    for contrast, suffix in (("T2", "T2w"), ("FLAIR", "FLAIR")):
        later = tmp_path / "in" / "sub-OAS30000" / "ses-d0900" / "anat" / f"sub-OAS30000_ses-d0900_{suffix}.nii.gz"
        trees.nifti(later, trees.stacks("oasis", 0)[contrast])
    complete = trees.layout("oasis3", tmp_path / "in").survey().complete["oasis"]
    assert {who.session for name, who in complete.items() if name != "sub-OAS30000"} == {"ses-d0129"}
    assert complete["sub-OAS30000"].session == "ses-d0900"
    assert complete["sub-OAS30001"].volumes["T1"].name == "sub-OAS30001_ses-d0129_run-01_T1w.nii.gz"


def test_given_masks_are_found_by_their_pattern(tmp_path: Path) -> None:
    trees.brats2021(tmp_path / "in")
    pattern = "{subject}/{subject}_seg.nii.gz"
    layout = trees.layout("brats2021", tmp_path / "in", chain={"mask": pattern})
    assert {who.mask.name for who in layout.survey().complete["brats"].values() if who.mask} == {
        f"BraTS2021_{person:05d}_seg.nii.gz" for person in range(4)
    }
    before = layout.fingerprint("brats")
    trees.nifti(
        tmp_path / "in" / "BraTS2021_00001" / "BraTS2021_00001_seg.nii.gz", trees.stacks("brats", 9)["T1"] > 500
    )
    assert layout.fingerprint("brats") != before
    (tmp_path / "in" / "BraTS2021_00001" / "BraTS2021_00001_seg.nii.gz").unlink()
    with pytest.raises(
        FederationError, match=r"BraTS2021_00001: no masks match BraTS2021_00001/BraTS2021_00001_seg.nii.gz"
    ):
        layout.contrasts()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "{subject}.nii.gz"}, r"needs the places \{subject\} and \{contrast\}"),
        (
            {"pattern": "{site}/{visit}/{subject}/{contrast}.nii"},
            r"has the place \{visit\}; its places can be \{site\}",
        ),
        ({"pattern": "**/{subject}/{contrast}.nii"}, r"must not have \*\*"),
        ({"pattern": "../{subject}/{contrast}.nii"}, "leads out of dataset.root"),
        ({"pattern": "/{subject}/{contrast}.nii"}, "leads out of dataset.root"),
        ({"pattern": "{subject/{contrast}.nii"}, r"unpaired brace|has the place \{subject/"),
        ({"pattern": "{subject}/{contrast}\n.nii"}, "an unprintable character"),
        ({"pattern": "{subject}*a*b*c*d*e*f*g*h{contrast}"}, "more than 8 places"),
        ({"pattern": "{subject}/{contrast}.nii"}, r"has no \{site\}; name the only site by dataset.site"),
        ({"val": 0.5, "test": 0.5}, "must be positive with a sum below 1"),
    ],
)
def test_an_invalid_layout_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(FederationError, match=message):
        Layout(**options)


def test_what_the_folder_lacks_is_said(tmp_path: Path) -> None:
    trees.folder(tmp_path / "in")
    for change, message in (
        ({"root": ""}, r"dataset.root is empty; give the folder of folder, as in dataset.root=data/folder"),
        ({"root": str(tmp_path / "none")}, r"there is no folder .*none; give the folder of folder by dataset.root$"),
        (
            {"pattern": "{site}/{subject}/{contrast}.nii"},
            r"has the form .*nii and .* T1, T1ce, T2, PD, FLAIR; found nor",
        ),
        ({"contrast_names": {"t1": "T1"}}, r"a contrast among t1; found north, south é; correct dataset.pattern"),
        (
            {"contrast_names": {"T1": "T1", "T2": "T1"}},
            r"2 volumes of T1, .*T1.nii.gz and .*T2.nii.gz; let the names say which it is",
        ),
        ({"exclude": ["p*"]}, "no subject under .* can be used"),
    ):
        with pytest.raises(FederationError, match=message):
            trees.layout("folder", tmp_path / "in", **change).contrasts()
    with pytest.raises(FederationError, match=r"has no dataset_description.json, so it is not a BIDS data set"):
        trees.layout("bids", tmp_path / "in").contrasts()
    with pytest.raises(FederationError, match=r"no site 'east' under .*; there are north, south_é"):
        trees.layout("folder", tmp_path / "in").fingerprint("east")


# BIDS, where empty files with the names are enough: nothing is opened to see who is complete


def bids_names(root: Path, *names: str, description: str = '{"Name": "x", "BIDSVersion": "1.8.0"}') -> Layout:
    """The layout of a BIDS data set with empty volumes of these names, each under sub-LABEL/[ses-LABEL/]anat."""
    for name in names:
        own = name.split("_")
        folders = own[:2] if own[1].startswith("ses-") else own[:1]
        path = Path(root, *folders, "anat", f"{name}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "dataset_description.json").write_text(description)
    return trees.layout("bids", root)


def plain(*people: str) -> list[str]:
    return [f"sub-{person}_{suffix}" for person in people for suffix in ("T1w", "T2w")]


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
@pytest.mark.parametrize(
    "place",
    ["derivatives/other/dataset_description.json", "derivatives/other.json", "sub-1/anat/sub-1_T1w.json", "task.json"],
)
def test_a_damaged_file_that_no_volume_needs_does_not_matter(tmp_path: Path, place: str, content: str) -> None:
    layout = bids_names(tmp_path / "in", *plain("1", "2"))
    (tmp_path / "in" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / place).write_text(content)
    assert list(layout.survey().complete["x"]) == ["sub-1", "sub-2"]


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '"x"', "[" * 100_000])
def test_a_damaged_description_is_named(tmp_path: Path, content: str) -> None:
    layout = bids_names(tmp_path / "in", *plain("1"), description=content)
    with pytest.raises(
        FederationError, match=r"in/dataset_description.json (cannot be read as JSON|is no JSON object)"
    ):
        layout.survey()


@pytest.mark.parametrize(
    ("description", "site"),
    [
        ('{"Name": "Age & memory: São Paulo, 2019"}', "Age_memory_São_Paulo_2019"),
        ('{"Name": "=cmd|<b>"}', "cmd_b"),
        (f'{{"Name": "{"a long name " * 20}"}}', ("a_long_name_" * 20)[:64].strip("_")),
        ('{"Name": "***"}', "ds_01"),
        ('{"Name": 7}', "7"),
        ("{}", "ds_01"),
    ],
)
@pytest.mark.parametrize("table", ["", "participant_id\tage\nsub-1\t30\n", "\n"])
def test_a_bids_data_set_without_sites_is_one_site(tmp_path: Path, description: str, site: str, table: str) -> None:
    layout = bids_names(tmp_path / "ds 01", *plain("1", "2"), description=description)
    if table:
        (tmp_path / "ds 01" / "participants.tsv").write_text(table)
    assert layout.contrasts() == {site: ("T1", "T2")}
    assert list(trees.layout("bids", tmp_path / "ds 01", site="mine").contrasts()) == ["mine"]


def test_a_column_of_sites_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    bids_names(tmp_path / "in", *plain("1", "2"))
    (tmp_path / "in" / "participants.tsv").write_text("participant_id\tscanner\nsub-1\tA\nsub-2\tB\n")
    assert list(trees.layout("bids", tmp_path / "in", table_site="scanner").contrasts()) == ["A", "B"]
    for options in ({"table_site": "scaner"}, {"table": "participants.tsv"}):
        with pytest.raises(
            FederationError, match=r"has no column .*; it has participant_id, scanner; .*dataset.site=NAME"
        ):
            trees.layout("bids", tmp_path / "in", **options).survey()


def test_an_enhanced_t1w_is_t1ce_and_other_enhanced_images_are_nothing(tmp_path: Path) -> None:
    enhanced = "sub-1_ce-gadolinium_T1w", "sub-2_ce-gadolinium_T1w", "sub-2_ce-gadolinium_T2w"
    layout = bids_names(tmp_path / "in", *plain("1", "2"), *enhanced)
    assert layout.contrasts() == {"x": ("T1", "T2", "T1ce")}
    own = layout.verify().found
    assert own.complete["x"]["sub-2"].volumes["T1ce"].name == "sub-2_ce-gadolinium_T1w.nii.gz"
    assert own.complete["x"]["sub-2"].volumes["T2"].name == "sub-2_T2w.nii.gz"
    layout = bids_names(tmp_path / "only", *plain("1", "2"), "sub-3_ce-gadolinium_T1w", "sub-3_T2w")
    with pytest.raises(FederationError, match=r"sub-3: it has .* but no volume of T1, which others there have"):
        layout.survey()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("part-phase_T1w", "part-mag_T1w"), "part-mag_T1w"),
        (("part-real_T1w", "part-imag_T1w", "T1w"), "T1w"),
        (("run-10_T1w", "run-2_T1w"), "run-2_T1w"),
        (("run-02_T1w", "T1w"), "T1w"),
        (("acq-mprage_run-1_T1w", "run-2_T1w"), "run-2_T1w"),
        (("rec-norm_T1w", "T1w", "acq-fast_T1w"), "T1w"),
        (("acq-fast_T1w", "rec-norm_T1w"), "rec-norm_T1w"),
        (("acq-fast_run-1_T1w", "acq-fast_run-2_T1w"), "acq-fast_run-1_T1w"),
        (("acq-fast_T1w", "acq-fine_T1w"), ""),
        (("acq-fast_run-1_T1w", "acq-fine_run-2_T1w"), ""),
        (("rec-a_T1w", "rec-b_T1w"), ""),
    ],
)
@pytest.mark.parametrize("session", ["", "ses-1_"])
def test_one_image_of_a_contrast_is_chosen_by_its_entities(
    tmp_path: Path, names: tuple[str, ...], chosen: str, session: str
) -> None:
    own = f"sub-1_{session}"
    layout = bids_names(tmp_path / "in", *(f"{own}{name}" for name in (*names, "T2w")))
    if chosen:
        assert layout.survey().complete["x"]["sub-1"].volumes["T1"].name == f"{own}{chosen}.nii.gz"
    else:
        both = ".*".join(f"{own}{name}.nii.gz" for name in names)
        with pytest.raises(FederationError, match=rf"it has 2 volumes of T1, .*{both}; .* dataset.first=true"):
            layout.survey()
        first = trees.layout("bids", tmp_path / "in", first=True).survey().complete["x"]["sub-1"]
        assert first.volumes["T1"].name == f"{own}{names[0]}.nii.gz"


@pytest.mark.slow
def test_registration_aligns_contrasts_and_exports_undo_it(tmp_path: Path) -> None:
    """The headers of T2 are 7 mm off. Registration undoes this, and slices that are exported to such a file lie where it says."""
    phantom = Phantom(size=64, slices=24)
    shift = np.array([5.0, -4.0, 3.0])
    for person in range(3):
        images, *_ = phantom.subject("midas", f"train{person:03d}")
        for channel, contrast in enumerate(("T1", "T2")):
            affine = np.diag([3.4, 3.4, 2.0, 1.0])
            affine[:3, 3] = [-32 * 3.4, -32 * 3.4, -24.0] + (contrast == "T2") * shift
            path = tmp_path / "in" / f"Normal-{person:03d}" / f"{contrast}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(images[:, channel, ::-1].astype(np.float32).T + 1, affine), path)
    chain = {"size": 64, "spacing": 3.4, "register": Registration.rigid}
    store = trees.layout("midas", tmp_path / "in", chain=chain).prepare(jobs=2)
    rows = {(row["name"], row["contrast"]): row for row in store.volumes()}
    site = store.site("midas")
    for person, (name, subject) in enumerate(trees.people(store, "midas").items()):
        first, row = rows[name, "T1"], rows[name, "T2"]
        assert row["poor"] == "False"
        motion = np.reshape(numbers(row["motion"]), (4, 4))
        np.testing.assert_allclose(motion[:3, 3], shift, atol=1.7)  # half a pixel
        own, home = (np.reshape(numbers(line["affine"]), (4, 4)) for line in (row, first))
        np.testing.assert_allclose(own, motion @ home)
        kept = list(map(int, row["slices"].split()))
        given = phantom.subject("midas", f"train{person:03d}")[0][kept, 1].astype(float)
        assert np.corrcoef(given.ravel(), site.images[subject.slices, 1].astype(float).ravel())[0, 1] > 0.97
        like = tmp_path / "in" / name / "T2.nii.gz"
        Prepared.export(
            site.images[subject.slices, 1].astype(np.float32), row, float(row["white"]), like, tmp_path / "out.nii.gz"
        )
        made, own = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(like)
        np.testing.assert_allclose(made.affine, own.affine)
        inside = np.asarray(made.dataobj)[..., kept[2:-2]]
        assert np.corrcoef(inside.ravel(), np.asarray(own.dataobj)[..., kept[2:-2]].ravel())[0, 1] > 0.97
