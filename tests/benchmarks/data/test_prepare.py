"""`fedsynth prepare`: what it makes, what --verify says, and how it answers an impossible command."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from support import federations, trees

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.data.contact_sheet import OUTLINE, TILE, outlined, pages, sheet
from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.prepared import Prepared
from fedsynth.federation import SPLITS
from fedsynth.runtime import progress

QUICK = [f"dataset.chain.{key}={value}" for key, value in trees.SMALL.items()]


def test_prepare_makes_arrays_sheets_and_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.ixi(tmp_path / "my IXI é", 3)
    (tmp_path / "my IXI é" / "IXI-T2" / "IXI001-Guys-0801-T2.nii.gz").unlink()
    trees.nifti(tmp_path / "my IXI é" / "IXI-T1" / "IXI020-Guys-0820-T1.nii.gz", trees.stacks("ixi", 20)["T1"])
    for contrast in ("T1", "T2", "PD"):
        path = tmp_path / "my IXI é" / f"IXI-{contrast}" / f"IXI021-Guys-0821-{contrast}.nii.gz"
        trees.nifti(path, trees.stacks("ixi", 21)[contrast])
    out = tmp_path / "out"
    command = [
        "prepare",
        "dataset=ixi",
        str(tmp_path / "my IXI é"),
        *QUICK,
        "dataset.chain.register=none",
        "--out",
        str(out),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert re.search(r"site +train +val +test +slices +contrasts\nGuys +1 +1 +1 +12 +T1, T2, PD\n", said)
    assert "2 left out:" in said
    assert "site Guys, subject IXI001: it has IXI001-Guys-0801-" in said
    assert f"dataset=prepared 'dataset.folders=[{out}]'" in said
    assert sorted(path.name for path in (out / "sheets").iterdir()) == ["Guys-1.png", "HH-1.png", "IOP-1.png"]
    card = (out / "card.md").read_text()
    assert "| Guys | T1, T2, PD | 1 (4) | 1 (4) | 1 (4) | 32 x 32 |" in card
    assert "T1, T2, PD 6 x 6 x 12" in card
    with (out / "splits.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 9
    assert main(command) == 0


def test_contrasts_that_do_not_lie_on_each_other_are_named_on_the_screen_and_by_pseudonym_in_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees.folder(tmp_path / "in", 3, ("north",))
    moved = np.roll(trees.stacks("midas", 1)["T2"], 2, axis=0)
    trees.nifti(tmp_path / "in/north/p1/T2.nii.gz", moved)  # 12 mm to the right
    out = tmp_path / "out"
    command = ["prepare", "dataset=folder", str(tmp_path / "in"), *QUICK, "--out", str(out)]
    for _ in range(2):  # the second time it is prepared already
        assert main(command) == 0
        said = capsys.readouterr().out
        assert "1 volume may not lie on the reference contrast of the same subject; look at them:" in said
        assert re.search(r"- site north, subject p1, T2: normalised mutual information is .* moved 8 mm left", said)
    both = ["prepare", "dataset=prepared", f"dataset.folders=[{out}]", "--out", str(tmp_path / "both")]
    assert main(both) == 0
    for card in (out / "card.md", tmp_path / "both" / "card.md"):
        assert re.search(r"- site north, subject p[0-9a-f]{12}, T2: .* moved 8 mm left", card.read_text())


def test_verify_reads_the_arrays_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.folder(tmp_path / "in", 3, ("north",))
    store = trees.layout("folder", tmp_path / "in").prepare()
    asked = ["prepare", "--verify", "dataset=prepared", f"dataset.folders=[{store.folder}]"]
    for command in (asked, ["prepare", "--verify", str(store.folder)]):
        assert main(command) == 0
        assert "site north: 3 prepared subjects, whose arrays are what was written" in capsys.readouterr().out
    masks = store.folder / "sites" / "north" / "masks.npy"
    masks.write_bytes(masks.read_bytes()[:-1] + b"\2")
    assert main(asked) == 1
    assert f"site north: {masks} is damaged" in capsys.readouterr().out


def test_without_a_terminal_progress_is_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)  # between two lines
    trees.folder(tmp_path / "in", 3, ("north",))
    trees.layout("folder", tmp_path / "in").prepare()
    said = capsys.readouterr().err.splitlines()
    lines = [line.partition(" left")[0].rpartition(", ")[0] for line in said]
    assert lines[-4:] == [f"preparing folder: {number} of 3 subjects" for number in range(4)]
    assert lines[:-4] == [f"checking folder: {number} of 6 files" for number in range(7)]


def test_the_phantom_becomes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["dataset=phantom", "dataset.size=32", "dataset.slices=1", *(f"dataset.{split}=1" for split in SPLITS)]
    assert main(["prepare", *options, "--out", str(tmp_path / "phantom")]) == 0
    made = Prepared([str(tmp_path / "phantom")])
    phantom = Phantom(size=32, slices=1, train=1, val=1, test=1)
    for site in phantom.contrasts():
        kept, rendered = made.load(site, tmp_path), phantom.render(site)
        np.testing.assert_array_equal(kept.images, rendered.images)
        assert [subject.name for subject in kept.subjects] == [subject.name for subject in rendered.subjects]
        assert made.naming(site) == "simulated"
        assert made.fingerprint(site) == phantom.fingerprint(site)


def test_verify_says_what_is_there_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "IXI"
    trees.ixi(root, 3)
    (root / "IXI-T2" / "IXI001-Guys-0801-T2.nii.gz").unlink()
    (root / "IXI-PD" / "IXI002-Guys-0802-PD.nii.gz").write_bytes(b"garbage")
    (root / "notes.txt").touch()
    before = trees.content(tmp_path)
    for command in (["dataset=ixi", str(root), "--verify"], ["--verify", str(root)]):
        assert main(["prepare", *command]) == 1
        said = capsys.readouterr().out
        assert "26 volumes, 8 complete subjects" in said
        assert "documented: nearly 600 subjects" in said
        assert "site Guys: 2 complete with T1, T2, PD" in said
        assert "T2: 2 subjects: 2 of 32 x 32 x 4 voxels of 6 x 6 x 12 mm" in said
        assert "subjects that are not complete: 1\n  site Guys, subject IXI001: it has" in said
        assert "volumes that cannot be read: 1\n  site Guys, subject IXI002: " in said
        assert "files that the layout does not describe: 1\n  notes.txt" in said
    assert "\nbids           0 volumes (" in f"\n{said}"
    assert "\ndataset=ixi\n" in said
    assert trees.content(tmp_path) == before


@pytest.mark.parametrize("table", [True, False])
def test_verify_finds_a_bids_data_set_before_a_pattern_that_fits_more_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: bool
) -> None:
    root = tmp_path / "in"
    trees.oasis3(root, 3)  # names of BIDS, two runs of T1w
    (root / "dataset_description.json").write_text('{"Name": "two runs", "BIDSVersion": "1.8.0"}')
    if table:
        (root / "participants.tsv").write_text("participant_id\tage\n")
    assert main(["prepare", "--verify", str(root)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^bids +12 volumes$", said, re.MULTILINE)
    assert re.search(r"^oasis3 +15 volumes$", said, re.MULTILINE)
    assert "\ndataset=bids\n" in said
    assert "site two_runs: 3 complete with T1, T2, FLAIR" in said


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["dataset=ixi"], 2, "dataset.root is empty; give the folder of ixi"),
        (["dataset=ixi", "nowhere"], 2, "there is no folder nowhere; give the folder of ixi by dataset.root$"),
        (["dataset=ixy", "nowhere"], 2, "no dataset 'ixy'; the nearest: ixi"),
        (["dataset=ixi", "dataset.patern=x"], 2, "no option 'patern'; the nearest: pattern"),
        (["dataset=phantom", "somewhere"], 2, "dataset=phantom is not made from a folder; leave somewhere out"),
        (["dataset=phantom", "--verify"], 2, "dataset=phantom is not a layout, so there is nothing to verify"),
        (["dataset=prepared", "dataset.folders=[x]"], 2, "x holds no prepared data set"),
        (["datset=ixi", "a"], 2, "dataset=NAME, and not datset=ixi;"),
        (["--verify", "nowhere"], 2, "there is no folder nowhere"),
        (["somewhere"], 2, r"which data set\? Give dataset=NAME; --verify FOLDER tries all"),
        (["dataset=ixi", "a", "b"], 2, "two folders, a and b"),
        (["dataset=ixi", "a", "--jobs", "0"], 2, "'--jobs': 0 is not in the range"),
    ],
)
def test_an_impossible_command_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *command]) == status
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_federation_of_prepared_folders_has_one_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantom = ["dataset=phantom", "dataset.size=32", "dataset.slices=1", *(f"dataset.{split}=1" for split in SPLITS)]
    trees.folder(tmp_path / "in", 3, ("Köln",))
    assert main(["prepare", *phantom, "--out", str(tmp_path / "phantom")]) == 0
    assert main(["prepare", "dataset=folder", str(tmp_path / "in"), *QUICK, "--out", str(tmp_path / "é")]) == 0
    said = capsys.readouterr().out
    assert f"""dataset=prepared 'dataset.folders=["{tmp_path / "é"}"]'""" in said
    assert """'scenario.sites=["Köln"]'""" in said
    folders = f'dataset.folders=["{tmp_path / "phantom"}","{tmp_path / "é"}"]'
    assert main(["prepare", "dataset=prepared", folders, "--out", str(tmp_path / "card")]) == 0
    assert "\nKöln       1    1     1      12  T1, T2\n" in capsys.readouterr().out
    card = (tmp_path / "card" / "card.md").read_text("utf-8")
    assert "| Köln | T1, T2 | 1 (4) | 1 (4) | 1 (4) | 32 x 32 |" in card
    assert "| T1, T2 6 x 6 x 12 |" in card
    assert "| Köln | T1->T2 |" in card
    assert "| brats | T1->FLAIR |" in card
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["card.md", "card.png"]
    before = trees.content(tmp_path)
    assert main(["prepare", "dataset=prepared", folders, "--out", str(tmp_path / "phantom")]) == 2
    assert trees.content(tmp_path) == before


# Contact sheets


def test_every_subject_is_on_a_sheet_with_its_outline() -> None:
    own = federations.site("north", train=120, val=1, test=5, slices=2, size=(28, 28))
    found = list(pages(own))
    assert len(found) == 2
    one = np.asarray(sheet(own, own.subjects[:1]))
    assert one.shape[1] < 5 * (TILE + 10)
    square = np.zeros((28, 28), bool)
    square[7:21, 7:21] = True
    tile = np.asarray(outlined(np.where(square, 1.0, -1.0), square))
    edge = (tile == OUTLINE).all(-1)
    assert tile.shape == (TILE, TILE, 3)
    assert np.argwhere(edge).min() == TILE // 4
    assert np.argwhere(edge).max() == 3 * TILE // 4 - 1
    assert edge.sum() == 4 * (TILE // 2 - 1)
    assert (tile[TILE // 2, TILE // 2] == 255).all()
    assert (tile[0, 0] == 0).all()
