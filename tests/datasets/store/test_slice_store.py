"""The store: what it says, when it is made anew, and what it never replaces."""

from __future__ import annotations

import json
import shutil
import time
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support import trees

from fedsynth.datasets.layout import subject
from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.store.pseudonyms import Names
from fedsynth.datasets.store.slice_store import SliceStore, numbers, write_store
from fedsynth.federation import SPLITS, FederationError, Site, Subject


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in")
    return tmp_path / "in"


def test_the_index_says_where_every_volume_came_from(root: Path) -> None:
    store = trees.layout("folder", root).prepare()
    rows = store.volumes()
    assert sorted((row["site"], row["name"], row["contrast"]) for row in rows) == [
        (site, f"p{i}", contrast) for site in ("north", "south_é") for i in range(4) for contrast in ("T1", "T2")
    ]
    (row,) = (row for row in rows if (row["site"], row["name"], row["contrast"]) == ("south_é", "p3", "T2"))
    source = Path(row["file"])
    assert source == root / "south é" / "p3" / "T2.nii.gz"
    assert (int(row["bytes"]), int(row["modified"])) == (source.stat().st_size, source.stat().st_mtime_ns)
    assert numbers(row["voxel_mm"]) == list(trees.EDGE)
    np.testing.assert_allclose(np.reshape(numbers(row["source_affine"]), (4, 4)), nibabel.load(source).affine)
    assert len(row["sha256"]) == 64
    assert int(row["first"]) == trees.people(store, "south_é")["p3"].slices.start
    assert len(row["slices"].split()) == trees.SLICES
    info = json.loads((store.folder / "dataset.json").read_text())
    assert info["sites"]["north"]["subjects"] == 4
    assert info["versions"]["nibabel"]
    assert info["options"]["chain"]["size"] == trees.SIZE
    assert not [path for path in store.folder.rglob("*") if path.suffix in (".pkl", ".pickle")]
    for path in store.folder.rglob("*.npy"):
        np.load(path, mmap_mode="r", allow_pickle=False)


def test_a_prepared_data_set_is_only_opened(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trees.layout("folder", root).prepare()
    before = trees.content(first.folder)
    monkeypatch.setattr(subject, "process", lambda *given: pytest.fail("a volume was read"))
    layout = trees.layout("folder", root)
    layout.load("north", tmp_path)
    for path in root.rglob("*.nii.gz"):
        path.touch()  # its time, not its content
    layout.load("north", tmp_path)
    shutil.copytree(root, tmp_path / "moved")
    moved = trees.layout("folder", tmp_path / "moved", out=str(first.folder))
    assert moved.load("south_é", tmp_path).images.shape[0] == 4 * trees.SLICES
    assert trees.content(first.folder) == before


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
    assert len(seen) == 11
    assert fingerprint() == fingerprint(out="elsewhere", documented="x", label="y")


def test_only_changed_subjects_are_processed_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = trees.layout("folder", root)
    store = layout.prepare()
    before = {name: store.site("north").images[s.slices] for name, s in trees.people(store, "north").items()}
    trees.nifti(root / "north" / "p0" / "T1.nii.gz", trees.stacks("midas", 99)["T1"])
    for contrast in ("T1", "T2"):
        trees.nifti(root / "north" / "new" / f"{contrast}.nii.gz", trees.stacks("midas", 98)[contrast])
    made: list[str] = []
    process = subject.process
    monkeypatch.setattr(subject, "process", lambda name, *rest: made.append(name) or process(name, *rest))
    site = layout.load("north", tmp_path)
    assert made == ["new", "p0"]
    store = SliceStore.open(layout.place)
    subjects = trees.people(store, "north")
    assert [*subjects] == ["new", "p0", "p1", "p2", "p3"]
    for name, images in before.items():
        assert np.array_equal(site.images[subjects[name].slices], images) == (name != "p0")
    rows = {(row["name"], row["contrast"]): row for row in store.volumes("north")}
    assert int(rows["p3", "T1"]["first"]) == subjects["p3"].slices.start


def test_other_options_need_another_folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    before = trees.content(root)
    with pytest.raises(FederationError, match=r"in holds no prepared data set"):
        trees.layout("folder", root, out=str(root)).prepare()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FederationError, match=r"file is a file; choose another"):
        trees.layout("folder", root, out=str(tmp_path / "file")).prepare()
    assert trees.content(root) == before
    assert (tmp_path / "file").read_text() == "mine"


def flip(path: Path) -> None:
    """Another last bit."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda at: (at / "dataset.json").unlink(), "holds no prepared data set"),
        (lambda at: (at / "dataset.json").write_text("{"), "holds no prepared data set"),
        (lambda at: (at / "dataset.json").write_text('{"schema": 3, "sites": []}'), "holds no prepared data set"),
        (lambda at: (at / "splits.csv").unlink(), "splits.csv cannot be read"),
        (
            lambda at: flip(at / "sites" / "north" / "images.npy"),
            "images.npy is damaged: the SHA-256 of what was written",
        ),
        (
            lambda at: flip(at / "sites" / "north" / "masks.npy"),
            "begins with .*; restore .*, or delete .* and prepare it",
        ),
        (lambda at: shutil.rmtree(at / "sites" / "north"), r"north/index.json cannot be read \(FileNotFoundError"),
        (lambda at: (at / "index.csv").unlink(), "index.csv cannot be read"),
    ],
)
def test_a_damaged_store_is_refused(root: Path, tmp_path: Path, damage: object, message: str) -> None:
    store = trees.layout("folder", root).prepare()
    damage(store.folder)
    dataset = Prepared([str(store.folder)])
    with pytest.raises(FederationError, match=message):
        dataset.contrasts(), dataset.fingerprint("north"), dataset.load("north", tmp_path)


def test_a_store_is_found_if_its_replacement_was_interrupted(root: Path, tmp_path: Path) -> None:
    store = trees.layout("folder", root).prepare()
    store.folder.rename(store.folder.with_name(".in-store.old"))
    assert Prepared([str(store.folder)]).load("north", tmp_path).name == "north"


@pytest.mark.slow
def test_preparing_keeps_one_subject_in_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (3, 9):
        root = tmp_path / f"{count}"
        for person in range(count):
            for contrast in ("T1", "T2"):
                trees.nifti(root / "one" / f"p{person}" / f"{contrast}.nii.gz", trees.stacks("midas", person)[contrast])
        tracemalloc.start()
        trees.layout("folder", root, chain={"size": 192, "spacing": 1.0, "slices": 4}).prepare()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.slow
def test_ten_thousand_slices_load_in_seconds(tmp_path: Path) -> None:
    images = np.memmap(tmp_path / "images", np.float16, "w+", shape=(10_000, 2, 256, 256))  # a sparse file of 2.6 GB
    masks = np.memmap(tmp_path / "masks", bool, "w+", shape=(10_000, 256, 256))
    people = tuple(Subject(f"s{i}", SPLITS[i % 3], slice(100 * i, 100 * i + 100)) for i in range(100))
    site = Site("north", ("T1", "T2"), images, masks, people)
    store = write_store(tmp_path / "store", [site], [], {"north": "x"}, {"label": "large"}, Names())
    started = time.perf_counter()
    Prepared([str(store.folder)]).load("north", tmp_path)
    assert time.perf_counter() - started < 30  # all 3.3 GB are read and hashed, once a process
    started = time.perf_counter()
    loaded = Prepared([str(store.folder)]).load("north", tmp_path)
    assert loaded.images[9_999].shape == (2, 256, 256)
    assert time.perf_counter() - started < 2
