"""A subject that cannot be used stops the preparation or is skipped and listed; any folder and table is answered in words."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image
from support import trees

from fedsynth.datasets import side_by_side
from fedsynth.datasets.layout import Layout, OnError, prepare, subject
from fedsynth.datasets.layout.survey import CompleteSubject
from fedsynth.datasets.store import splits
from fedsynth.federation import FederationError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in")
    return tmp_path / "in"


def linked(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def four_dimensional(path: Path) -> None:
    volume = np.stack([trees.stacks("midas", 1)["T2"]] * 2, axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([*trees.EDGE, 1])), path)


def in_another_file(path: Path, other: Path) -> None:
    """The volume with its axes in another order, in double precision, compressed otherwise."""
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj, np.float64)[::-1].transpose(2, 0, 1)
    flip = np.array([[0, -1.0, 0, image.shape[0] - 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    other.write_bytes(gzip.compress(nibabel.Nifti1Image(voxels, image.affine @ flip).to_bytes(), 1))


# what is wrong with the T2 of subject p1 of site north: how it is done, and the reason that is given
SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, r"it has T1.nii.gz but no volume of T2, which others there have; add it"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), r"it has T1.nii.gz but no volume of T2"),  # read for ever
    "another subject's": (
        lambda path: shutil.copy(path.parent.with_name("p0") / "T2.nii.gz", path),
        r"its .*p1/T2.nii.gz is the same image as one of subject north p0; leave one out",
    ),
    "another subject's in another file": (
        lambda path: in_another_file(path.parent.with_name("p0") / "T2.nii.gz", path),
        r"its .*p1/T2.nii.gz is the same image as one of subject north p0; leave one out",
    ),
    "the same as its T1": (
        lambda path: shutil.copy(path.with_name("T1.nii.gz"), path),
        r"two of .*p1/T1.nii.gz and .*p1/T2.nii.gz are the same image; restore them",
    ),
    "a link to itself": (lambda path: linked(path, "T2.nii.gz"), r"p1/T2.nii.gz"),
    "a broken link": (lambda path: linked(path, "nowhere.nii.gz"), r"p1/T2.nii.gz"),
    "no volume": (lambda path: path.write_bytes(b"no volume at all"), r"p1/T2.nii.gz"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), r"p1/T2.nii.gz"),
    "empty": (lambda path: trees.nifti(path, np.zeros((trees.SIZE, trees.SIZE, trees.SLICES))), r"p1/T2.nii.gz"),
    "4-D": (four_dimensional, r"p1/T2.nii.gz"),
    "on another grid": (
        lambda path: trees.nifti(path, trees.stacks("midas", 1)["T2"][:-3]),
        r"p1/T2.nii.gz .* lie on different grids; register",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_subject_that_cannot_be_used_stops_the_preparation_or_is_skipped_and_listed(
    root: Path, tmp_path: Path, how: str
) -> None:
    spoil, reason = SPOILT[how]
    spoil(root / "north" / "p1" / "T2.nii.gz")
    with pytest.raises(FederationError, match=reason) as stopped:
        trees.layout("folder", root).prepare()
    assert "traceback" not in str(stopped.value).lower()
    assert not (tmp_path / "in-store").exists()
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert [*trees.people(store, "north")] == ["p0", "p2", "p3"]
    assert sum(store.left_out("north").values()) == 1
    (left_out,) = store.names.left_out
    assert (left_out["site"], left_out["subject"]) == ("north", "p1")
    assert re.search(reason, left_out["reason"])


def test_a_poor_registration_is_never_used_in_silence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def poor(name: str, *rest: object) -> object:
        made = process(name, *rest)
        calls.append(name)
        quality = trees.quality(poor=name == "p1")
        return made._replace(quality={"T2": quality})

    process = subject.process
    monkeypatch.setattr(subject, "process", poor)
    pictures = tmp_path / "in-store-refused"
    said = r"p1: the registration of its T2 is poor \(1.2000 is less than 1.3000\); look at .*in-store-refused/north-p1-T2.png, "
    with pytest.raises(FederationError, match=said):
        trees.layout("folder", root).prepare()
    shutil.rmtree(pictures)
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert sorted(one["site"] for one in store.names.left_out if one["subject"] == "p1") == ["north", "south_é"]
    assert [path.name for path in sorted(pictures.iterdir())] == ["north-p1-T2.png", "south_é-p1-T2.png"]
    assert np.ptp(np.asarray(Image.open(pictures / "north-p1-T2.png"))) == 255
    assert pictures.stat().st_mode & 0o077 == 0  # names are in it
    assert len(calls) == 8  # what the first command did is kept
    accepted = trees.layout("folder", root, accept=["p1"]).prepare()
    assert len(calls) == 10
    assert accepted.names.left_out == []
    assert {row["poor"] for row in accepted.index() if row["contrast"] == "T2"} == {"True", "False"}


def test_a_site_with_too_few_subjects_is_left_out(root: Path) -> None:
    for person in (2, 3):
        shutil.rmtree(root / "north" / f"p{person}")
    with pytest.raises(FederationError, match=r"site north has 2 subjects \(p0, p1\) and needs one in each"):
        trees.layout("folder", root).prepare()
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert list(store.contrasts) == ["south_é"]
    assert [one["site"] for one in store.names.left_out] == ["north"]


def test_symbolic_links_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    for name in ("folder", "bids"):
        root = tmp_path / name
        trees.TREES[name](root)
        inside = next(path for path in sorted(root.rglob("p0" if name == "folder" else "sub-00")) if path.is_dir())
        (inside / "again").symlink_to(root)
        (inside / "self").symlink_to("self")
        layout = trees.layout(name, root)
        assert sum(map(len, layout.survey().complete.values())) == 8
        assert layout.verify().found.matched == layout.survey().matched


text = st.text("{}*/.ab12 é[]?-_\\\n", max_size=12) | st.text(max_size=6)
pieces = st.lists(
    st.sampled_from(["{subject}", "{contrast}", "{site}", "{session}", "*", "/", ".nii.gz", "a"]) | text, max_size=10
)


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces.map("".join))
@example("{subject}{subject}{contrast}*a*b*c*d/{site}")
@example("./{site}/./{subject}//{contrast}.nii.gz")
def test_any_pattern_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, pattern: str) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzzed"
    if not root.exists():
        trees.folder(root, 1)
    try:
        survey = Layout(root=str(root), pattern=pattern, site="one", on_error=OnError.skip).survey()
    except FederationError:
        return
    assert survey.complete


@settings(max_examples=60, deadline=2000)
@given(st.binary(max_size=60) | st.text("site\t,\"'\n\r\x00split subject é1", max_size=60).map(str.encode))
@example(b"participant_id\tsite\nsub-00\t\n\t\t\t\n")
@example(b'site,subject,split\n"\n')
def test_any_table_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, table: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "tables"
    if not root.exists():
        trees.bids(root, 1)
    for name, read in (
        ("participants.tsv", lambda: trees.layout("bids", root, on_error=OnError.skip).survey()),
        ("splits.csv", lambda: splits.read_splits(root / "splits.csv")),
        ("subjects.csv", lambda: list(side_by_side.subject_rows(root / "subjects.csv"))),
    ):
        (root / name).write_bytes(table)
        with suppress(FederationError):
            read()


@pytest.mark.parametrize("name", ["=cmd", "a\x1b[2J", "$x_{$", "p" * 65, "a\udcff", "<b>"])
def test_a_folder_whose_name_can_be_no_subject_is_left_out_by_name(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "north" / "p1").rename(root / "north" / name)
    found = trees.layout("folder", root, on_error=OnError.skip).survey()
    (left_out,) = found.left_out
    assert left_out.subject == name
    assert re.search(r"its name (has|begins) .*; rename its folder or its files$", str(left_out))
    assert str(left_out).isprintable()
    print(trees.layout("folder", root).verify())
    assert name not in capsys.readouterr().out or name.isprintable()


def test_a_site_whose_name_is_too_long_is_refused_before_a_subject_is_prepared(root: Path) -> None:
    (root / "north").rename(root / ("n" * 200))
    with pytest.raises(FederationError, match=r"site 'n*' has 200 characters, and a name at most 64"):
        trees.layout("folder", root).survey()


def test_a_site_with_too_few_subjects_is_refused_before_any_is_processed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in sorted((root / "north").iterdir())[2:]:
        shutil.rmtree(person)
    processed: list[str] = []

    def process(who: CompleteSubject, *rest: Any) -> str:
        processed.append(who.site)
        return subject.process_subject(who, *rest)

    monkeypatch.setattr(prepare, "process_subject", process)
    with pytest.raises(FederationError, match=r"site north has 2 subjects"):
        trees.layout("folder", root).prepare()
    assert processed == []
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert {*processed} == {*store.contrasts} == {"south_é"}


def test_t1_after_contrast_agent_is_a_contrast_of_ones_own_folder(root: Path) -> None:
    for t2 in root.glob("*/*/T2.nii.gz"):
        t2.rename(t2.with_name("T1ce.nii.gz"))
    assert {*trees.layout("folder", root).prepare().contrasts.values()} == {("T1", "T1ce")}
