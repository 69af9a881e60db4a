"""`fedsynth prepare` and the store: splits, resuming, what is kept, what is left out and why, and a full disk."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
import trees
from hypothesis import HealthCheck, example, given, settings, strategies as st

from fedsynth.benchmarks.cli import main
from fedsynth.datasets import side_by_side, splits
from fedsynth.datasets.layout import Layout, OnError, subject
from fedsynth.datasets.phantom import Phantom
from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.store import Store, numbers, write
from fedsynth.federation import SPLITS, FederationError, Site, Subject

ROOT = Path(__file__).parents[1]
QUICK = [f"dataset.chain.{key}={value}" for key, value in trees.SMALL.items()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in")
    return tmp_path / "in"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# Splits


def test_splits_are_the_shares_of_every_site_and_follow_the_seed() -> None:
    names = [f"s{i}" for i in range(200)]
    drawn = splits.draw("north", names, 3, val=0.1, test=0.2)
    assert [list(drawn.values()).count(split) for split in SPLITS] == [140, 20, 40]
    assert drawn == splits.draw("north", names[::-1], 3, val=0.1, test=0.2)
    assert drawn != splits.draw("south", names, 3, 0.1, 0.2)
    assert drawn != splits.draw("north", names, 4, 0.1, 0.2)
    joined = splits.draw("north", [*names, "late"], 3, 0.1, 0.2)
    assert sum(joined[name] != split for name, split in drawn.items()) <= 2


@given(st.sets(st.text(max_size=4), max_size=12), st.integers(0, 99), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_every_subject_is_in_one_split_and_none_is_empty(names: set[str], seed: int, val: float, test: float) -> None:
    if len(names) < 3:
        with pytest.raises(FederationError, match=r"needs one in each of train, val, test"):
            splits.draw("north", names, seed, val, test)
    else:
        drawn = splits.draw("north", names, seed, val, test)
        assert set(drawn) == names
        assert set(drawn.values()) == set(SPLITS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("site,subject\nnorth,ann\n", "has no column split; a table of splits has site, subject, split"),
        (
            "site,subject,split\nnorth,ann,training\n",
            "line 2: 'training' is no split; a subject is in train, val, test",
        ),
        ("site,subject,split\nnorth,ann,val\nnorth,ann,test\n", "line 3: subject ann of site north stands there twice"),
        ("site,subject,split\nnorth\n", "line 2: '' is no split"),
        ("\xff", "cannot be read as a table of splits|has no column site"),
    ],
)
def test_a_table_of_splits_that_cannot_be_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "splits.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(FederationError, match=message):
        splits.read(tmp_path / "splits.csv")


def test_splits_may_be_given(root: Path, tmp_path: Path) -> None:
    own = {
        site: {f"p{i}": split for i, split in enumerate(["test", "val", "train", "train"])}
        for site in ("north", "south_é")
    }
    splits.write(tmp_path / "mine.csv", own)
    site = trees.layout("folder", root, splits=str(tmp_path / "mine.csv")).load("north", tmp_path)
    assert {subject.name: subject.split for subject in site.subjects} == own["north"]
    del own["north"]["p3"]
    splits.write(tmp_path / "mine.csv", own)
    with pytest.raises(
        FederationError, match=r"does not name 1 of the subjects of site north, such as p3; give each a line"
    ):
        trees.layout("folder", root, splits=str(tmp_path / "mine.csv"), out=str(tmp_path / "b")).prepare()


def test_edited_splits_hold_and_are_another_data_set(root: Path, tmp_path: Path) -> None:
    layout = trees.layout("folder", root)
    store = layout.prepare()
    dataset = Prepared([str(store.folder)])
    assert dataset.fingerprint("north") == layout.fingerprint("north")
    table = store.folder / "splits.csv"
    found = splits.read(table)
    swapped = {name: {"test": "val", "val": "test"}.get(split, split) for name, split in found["north"].items()}
    splits.write(table, {**found, "north": swapped})
    assert {s.name: s.split for s in dataset.load("north", tmp_path).subjects} == swapped
    assert dataset.fingerprint("north") != layout.fingerprint("north")
    with pytest.raises(
        FederationError, match=r"splits.csv was edited, so site north is no longer what the options say"
    ):
        layout.load("north", tmp_path)
    table.write_text("\n".join(table.read_text("utf-8").splitlines()[:-1]), "utf-8")
    with pytest.raises(FederationError, match=r"splits.csv does not name 1 of the subjects of site south_é"):
        dataset.load("south_é", tmp_path)
    splits.write(table, {**found, "north": {**found["north"], "who": "test"}})
    with pytest.raises(FederationError, match=r"splits.csv: site north has no subject who; delete its line"):
        dataset.load("north", tmp_path)


# The store


def test_the_index_says_where_every_volume_came_from(root: Path) -> None:
    store = trees.layout("folder", root).prepare()
    rows = store.index()
    assert [(row["site"], row["subject"], row["contrast"]) for row in rows] == [
        (site, f"p{i}", contrast) for site in ("north", "south_é") for i in range(4) for contrast in ("T1", "T2")
    ]
    row = rows[-1]
    source = root / row["file"]
    assert source == root / "south é" / "p3" / "T2.nii.gz"
    assert (int(row["bytes"]), int(row["modified"])) == (source.stat().st_size, source.stat().st_mtime_ns)
    assert numbers(row["voxel_mm"]) == list(trees.EDGE)
    np.testing.assert_allclose(np.reshape(numbers(row["source_affine"]), (4, 4)), nibabel.load(source).affine)
    assert len(row["sha256"]) == 64
    assert int(row["first"]) == 3 * trees.SLICES
    assert len(row["slices"].split()) == trees.SLICES
    info = json.loads((store.folder / "dataset.json").read_text())
    assert info["sites"]["north"]["subjects"] == 4
    assert info["versions"]["nibabel"]
    assert info["options"]["chain"]["size"] == trees.SIZE
    assert not [path for path in store.folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
    for path in store.folder.rglob("*.npy"):
        np.load(path, mmap_mode="r", allow_pickle=False)


def test_prepared_once_it_is_only_opened(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trees.layout("folder", root).prepare()
    before = content(first.folder)
    monkeypatch.setattr(subject, "process", lambda *given: pytest.fail("a volume was read"))
    layout = trees.layout("folder", root)
    layout.load("north", tmp_path)
    for path in root.rglob("*.nii.gz"):
        path.touch()  # its time, not its content
    layout.load("north", tmp_path)
    shutil.copytree(root, tmp_path / "moved")
    moved = trees.layout("folder", tmp_path / "moved", out=str(first.folder))
    assert moved.load("south_é", tmp_path).images.shape[0] == 4 * trees.SLICES
    assert content(first.folder) == before


def test_whatever_changes_the_arrays_changes_the_fingerprint(root: Path, tmp_path: Path) -> None:
    def fingerprint(**options: object) -> str:
        return trees.layout("folder", root, **options).fingerprint("north")

    seen = {fingerprint()}
    for change in (
        {"chain": {"size": 40}},
        {"chain": {"spacing": 5.0}},
        {"chain": {"slices": 2}},
        {"chain": {"strip": True}},
        {"val": 0.3},
        {"seed": 1},
        {"volume": 0},
        {"contrast_names": {"T1": "T2", "T2": "T1"}},
        {"exclude": ["north/p0"]},
    ):
        seen.add(fingerprint(**change))
    trees.nifti(root / "north" / "p0" / "T1.nii.gz", trees.stacks("midas", 99)["T1"])
    seen.add(fingerprint())
    (root / "north" / "p0").rename(root / "north" / "p9")
    seen.add(fingerprint())
    assert len(seen) == 12
    assert fingerprint() == fingerprint(out="elsewhere", documented="x", label="y")


def test_only_what_changed_is_made_anew(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = trees.layout("folder", root)
    before = {s.name: layout.load("north", tmp_path).images[s.slices] for s in layout.load("north", tmp_path).subjects}
    trees.nifti(root / "north" / "p0" / "T1.nii.gz", trees.stacks("midas", 99)["T1"])
    for contrast in ("T1", "T2"):
        trees.nifti(root / "north" / "new" / f"{contrast}.nii.gz", trees.stacks("midas", 98)[contrast])
    made: list[str] = []
    process = subject.process
    monkeypatch.setattr(subject, "process", lambda name, *rest: made.append(name) or process(name, *rest))
    site = layout.load("north", tmp_path)
    assert made == ["new", "p0"]
    assert [s.name for s in site.subjects] == ["new", "p0", "p1", "p2", "p3"]
    for one in site.subjects:
        if one.name != "new":
            assert np.array_equal(site.images[one.slices], before[one.name]) == (one.name != "p0")
    rows = {
        (row["subject"], row["contrast"]): row for row in Store.open(layout.place).index() if row["site"] == "north"
    }
    assert int(rows["p3", "T1"]["first"]) == 4 * trees.SLICES


def test_other_options_take_another_place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees.layout("folder", root).prepare()
    with pytest.raises(
        FederationError,
        match=r"in-store was prepared with other options: dataset.chain.size 32, now 40; choose another dataset.out",
    ):
        trees.layout("folder", root, chain={"size": 40}).prepare()
    monkeypatch.chdir(tmp_path)
    places = {trees.layout("folder", root, out="", chain={"size": size}).prepare().folder for size in (32, 40)}
    assert {place.parent for place in places} == {Path("prepared")}
    assert len(places) == 2


def test_a_folder_of_other_things_is_never_replaced(root: Path, tmp_path: Path) -> None:
    before = content(root)
    with pytest.raises(FederationError, match=r"in holds no prepared data set"):
        trees.layout("folder", root, out=str(root)).prepare()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FederationError, match=r"file is a file; choose another"):
        trees.layout("folder", root, out=str(tmp_path / "file")).prepare()
    assert content(root) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda at: (at / "dataset.json").unlink(), "holds no prepared data set"),
        (lambda at: (at / "dataset.json").write_text("{"), "holds no prepared data set"),
        (lambda at: (at / "dataset.json").write_text('{"schema": 1, "sites": []}'), "holds no prepared data set"),
        (lambda at: (at / "splits.csv").unlink(), "splits.csv cannot be read"),
        (lambda at: (at / "sites" / "north" / "images.npy").write_bytes(b"x"), "north is damaged"),
        (lambda at: shutil.rmtree(at / "sites" / "north"), "north is damaged"),
        (lambda at: (at / "index.csv").unlink(), "index.csv cannot be read"),
    ],
)
def test_a_damaged_store_is_refused(root: Path, tmp_path: Path, damage: object, message: str) -> None:
    store = trees.layout("folder", root).prepare()
    damage(store.folder)  # type: ignore[operator]  # a function
    dataset = Prepared([str(store.folder)])
    with pytest.raises(FederationError, match=message):
        dataset.contrasts(), dataset.fingerprint("north"), dataset.load("north", tmp_path)


def test_a_store_whose_replacing_was_cut_short_is_found(root: Path, tmp_path: Path) -> None:
    store = trees.layout("folder", root).prepare()
    store.folder.rename(store.folder.with_name(".in-store.old"))
    assert Prepared([str(store.folder)]).load("north", tmp_path).name == "north"


# Interrupted


def test_a_killed_preparing_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    """Killed with SIGKILL in its third subject; the same command then does the other six only, and ends as if undisturbed."""
    code = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT)!r}]
import trees
from fedsynth.datasets.layout import subject
process, made = subject.process, []
def slow(name, *rest):
    made.append(name)
    if len(made) == 3 and sys.argv[1] == "hang":
        print("third", flush=True)
        time.sleep(600)
    return process(name, *rest)
subject.process = slow
trees.layout("folder", Path({str(root)!r})).prepare()
print(len(made))
"""
    with subprocess.Popen([sys.executable, "-c", code, "hang"], stdout=subprocess.PIPE, text=True) as hung:
        assert hung.stdout is not None
        assert hung.stdout.readline() == "third\n"
        hung.send_signal(signal.SIGKILL)
    assert not (tmp_path / "in-store").exists()
    done = subprocess.run([sys.executable, "-c", code, "go"], capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
    whole = trees.layout("folder", root, out=str(tmp_path / "whole")).prepare().folder
    ours, theirs = content(tmp_path / "in-store"), content(whole)
    assert {k: v for k, v in ours.items() if k != "dataset.json"} == {
        k: v for k, v in theirs.items() if k != "dataset.json"
    }
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize("where", ["subject", "store"])
def test_a_full_disk_leaves_the_store_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store = trees.layout("folder", root).prepare()
    before = content(store.folder)
    trees.nifti(root / "north" / "p0" / "T1.nii.gz", trees.stacks("midas", 99)["T1"])
    save, calls = np.save, []

    def full(path: Path, array: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == (2 if where == "subject" else 4):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, array)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(
        FederationError, match=r"in-store cannot be written \(No space left on device\).*partial: make room"
    ):
        trees.layout("folder", root).prepare()
    monkeypatch.undo()
    assert content(store.folder) == before
    assert sorted(path.name for path in tmp_path.glob(".in-store.*")) == [".in-store.lock", ".in-store.partial"]
    after = trees.layout("folder", root).prepare()
    assert content(after.folder) != before


def test_several_processes_make_the_same_store(root: Path, tmp_path: Path) -> None:
    one = trees.layout("folder", root, out=str(tmp_path / "one")).prepare().folder
    two = trees.layout("folder", root, out=str(tmp_path / "two")).prepare(jobs=2).folder
    assert {k: v for k, v in content(one).items() if k != "dataset.json"} == {
        k: v for k, v in content(two).items() if k != "dataset.json"
    }


def test_who_comes_second_waits_and_finds_it_done(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process, made = subject.process, []
    monkeypatch.setattr(subject, "process", lambda name, *rest: made.append(name) or process(name, *rest))
    with ThreadPoolExecutor(2) as pool:
        stores = list(
            pool.map(lambda layout: layout.prepare(), [trees.layout("folder", root), trees.layout("folder", root)])
        )
    assert stores[0].folder == stores[1].folder
    assert len(made) == 8
    assert "another process prepares" in capsys.readouterr().err


# Who is left out


def spoil(root: Path, how: str) -> None:
    own = root / "north" / "p1"
    match how:
        case "missing":
            (own / "T2.nii.gz").unlink()
        case "twin":
            shutil.copy(root / "north" / "p0" / "T2.nii.gz", own / "T2.nii.gz")
        case "loop":
            (own / "T2.nii.gz").unlink()
            (own / "T2.nii.gz").symlink_to("T2.nii.gz")
        case "gone":
            (own / "T2.nii.gz").unlink()
            (own / "T2.nii.gz").symlink_to("nowhere.nii.gz")
        case "garbage":
            (own / "T2.nii.gz").write_bytes(b"no volume at all")
        case "truncated":
            raw = (own / "T2.nii.gz").read_bytes()
            (own / "T2.nii.gz").write_bytes(raw[: len(raw) // 2])
        case "empty":
            trees.nifti(own / "T2.nii.gz", np.zeros((trees.SIZE, trees.SIZE, trees.SLICES)))
        case "4-D":
            volume = np.stack([trees.stacks("midas", 1)["T2"]] * 2, axis=-1)
            nibabel.save(nibabel.Nifti1Image(volume, np.diag([*trees.EDGE, 1])), own / "T2.nii.gz")
        case "grid":
            trees.nifti(own / "T2.nii.gz", trees.stacks("midas", 1)["T2"][:-3])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", r"it has T1.nii.gz but no volume of T2, which others there have; add it"),
        ("twin", r"it has the same file as subject north p0, T1.nii.gz; leave one out"),
        ("loop", r"p1/T2.nii.gz"),
        ("gone", r"p1/T2.nii.gz"),
        ("garbage", r"p1/T2.nii.gz"),
        ("truncated", r"p1/T2.nii.gz"),
        ("empty", r"p1/T2.nii.gz"),
        ("4-D", r"p1/T2.nii.gz"),
        ("grid", r"p1/T2.nii.gz|different grids"),
    ],
)
def test_who_cannot_be_used_stops_or_is_skipped_and_listed(root: Path, tmp_path: Path, how: str, reason: str) -> None:
    spoil(root, how)
    with pytest.raises(FederationError, match=reason) as stopped:
        trees.layout("folder", root).prepare()
    assert "traceback" not in str(stopped.value).lower()
    assert not (tmp_path / "in-store").exists()
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert [subject.name for subject in store.site("north").subjects] == ["p0", "p2", "p3"]
    (left_out,) = store.info["left_out"]
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
    with pytest.raises(
        FederationError, match=r"p1: the registration of its T2 is poor \(overlap of the heads 0.50 before"
    ):
        trees.layout("folder", root).prepare()
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert sorted(one["site"] for one in store.info["left_out"] if one["subject"] == "p1") == ["north", "south_é"]
    assert len(calls) == 8  # what the first command did is kept
    accepted = trees.layout("folder", root, accept=["p1"]).prepare()
    assert len(calls) == 10
    assert accepted.info["left_out"] == []
    assert {row["poor"] for row in accepted.index() if row["contrast"] == "T2"} == {"True", "False"}


def test_a_site_with_too_few_is_left_out_as_a_whole(root: Path) -> None:
    for person in (2, 3):
        shutil.rmtree(root / "north" / f"p{person}")
    with pytest.raises(FederationError, match=r"site north has 2 subjects \(p0, p1\) and needs one in each"):
        trees.layout("folder", root).prepare()
    store = trees.layout("folder", root, on_error=OnError.skip).prepare()
    assert list(store.contrasts) == ["south_é"]
    assert [one["site"] for one in store.info["left_out"]] == ["north"]


def test_symbolic_links_in_circles_end(tmp_path: Path) -> None:
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
        ("splits.csv", lambda: splits.read(root / "splits.csv")),
        ("subjects.csv", lambda: list(side_by_side.rows(root / "subjects.csv"))),
    ):
        (root / name).write_bytes(table)
        with suppress(FederationError):
            read()


# The verb


def test_the_verb_prepares_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert "Guys       1     1     1      12  T1, T2, PD" in said
    assert "2 left out:" in said
    assert "site Guys, subject IXI001: it has IXI001-Guys-0801-" in said
    assert f"dataset=prepared 'dataset.folders=[{out}]'" in said
    assert sorted(path.name for path in (out / "sheets").iterdir()) == ["Guys-1.png", "HH-1.png", "IOP-1.png"]
    card = (out / "card.md").read_text()
    assert "| Guys | T1, T2, PD | 1 (4) | 1 (4) | 1 (4) | 32 x 32 |" in card
    assert "T1 6 x 6 x 12; T2 6 x 6 x 12" in card
    with (out / "splits.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 9
    assert main(command) == 0


def test_the_phantom_becomes_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["dataset=phantom", "dataset.size=32", "dataset.slices=1", *(f"dataset.{split}=1" for split in SPLITS)]
    assert main(["prepare", *options, "--out", str(tmp_path / "phantom")]) == 0
    made = Prepared([str(tmp_path / "phantom")])
    phantom = Phantom(size=32, slices=1, train=1, val=1, test=1)
    for site in phantom.contrasts():
        np.testing.assert_array_equal(made.load(site, tmp_path).images, phantom.render(site).images)
        assert made.fingerprint(site) == phantom.fingerprint(site)


def test_verify_says_what_is_there_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "IXI"
    trees.ixi(root, 3)
    (root / "IXI-T2" / "IXI001-Guys-0801-T2.nii.gz").unlink()
    (root / "IXI-PD" / "IXI002-Guys-0802-PD.nii.gz").write_bytes(b"garbage")
    (root / "notes.txt").touch()
    before = content(tmp_path)
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
    assert "\ndataset=ixi\n" in said
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (["dataset=ixi"], 2, "dataset.root is empty; give the folder of ixi"),
        (["dataset=ixi", "nowhere"], 2, "there is no folder nowhere; correct dataset.root"),
        (["dataset=ixy", "nowhere"], 2, "no dataset 'ixy'; the nearest: ixi"),
        (["dataset=ixi", "dataset.patern=x"], 2, "no option 'patern'; the nearest: pattern"),
        (["dataset=phantom", "somewhere"], 2, "dataset=phantom is not made from a folder, but somewhere was given"),
        (["dataset=phantom", "--verify"], 2, "dataset=phantom has no layout to verify"),
        (["dataset=prepared", "dataset.folders=[x]"], 2, "names what is prepared already"),
        (["--verify", "nowhere"], 2, "there is no folder nowhere"),
        (["somewhere"], 2, r"which data set\? dataset=NAME; --verify FOLDER tries all"),
        (["dataset=ixi", "a", "b"], 2, "two folders, a and b"),
        (["dataset=ixi", "a", "--jobs", "0"], 2, "--jobs is 0"),
    ],
)
def test_a_command_that_cannot_be_is_answered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = main(["prepare", *command])
    except SystemExit as stop:  # argparse's way
        found = int(stop.code or 0)
    assert found == status
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ten_thousand_slices_load_in_seconds(tmp_path: Path) -> None:
    images = np.memmap(tmp_path / "images", np.float16, "w+", shape=(10_000, 2, 256, 256))  # a sparse file of 2.6 GB
    masks = np.memmap(tmp_path / "masks", bool, "w+", shape=(10_000, 256, 256))
    people = tuple(Subject(f"s{i}", SPLITS[i % 3], slice(100 * i, 100 * i + 100)) for i in range(100))
    site = Site("north", ("T1", "T2"), images, masks, people)
    store = write(tmp_path / "store", [site], [], {"north": "x"}, {"label": "large"})
    started = time.perf_counter()
    loaded = Prepared([str(store.folder)]).load("north", tmp_path)
    assert loaded.images[9_999].shape == (2, 256, 256)
    assert time.perf_counter() - started < 2
