"""Splits are shares of every site, stable, given or edited; no subject is in two, and an invalid table is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from support import trees

from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.store import splits
from fedsynth.federation import SPLITS, FederationError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in")
    return tmp_path / "in"


def test_splits_are_the_shares_of_every_site_and_follow_the_seed() -> None:
    names = [f"s{i}" for i in range(200)]
    drawn = splits.draw_splits("north", names, 3, val=0.1, test=0.2)
    assert [list(drawn.values()).count(split) for split in SPLITS] == [140, 20, 40]
    assert drawn == splits.draw_splits("north", names[::-1], 3, val=0.1, test=0.2)
    assert drawn != splits.draw_splits("south", names, 3, 0.1, 0.2)
    assert drawn != splits.draw_splits("north", names, 4, 0.1, 0.2)
    joined = splits.draw_splits("north", [*names, "late"], 3, 0.1, 0.2)
    assert sum(joined[name] != split for name, split in drawn.items()) <= 2


@given(st.sets(st.text(max_size=4), max_size=12), st.integers(0, 99), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_every_subject_is_in_one_split_and_none_is_empty(names: set[str], seed: int, val: float, test: float) -> None:
    if len(names) < 3:
        with pytest.raises(FederationError, match=r"needs one in each of train, val, test"):
            splits.draw_splits("north", names, seed, val, test)
    else:
        drawn = splits.draw_splits("north", names, seed, val, test)
        assert set(drawn) == names
        assert set(drawn.values()) == set(SPLITS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("site,subject\nnorth,ann\n", "has no column split; a table of splits has site, subject, split"),
        (
            "site,subject,split\nnorth,ann,training\n",
            "line 2: 'training' is not a split; use one of train, val, test",
        ),
        (
            "site,subject,split\nnorth,ann,val\nnorth,ann,test\n",
            "line 3: subject ann of site north occurs twice",
        ),
        ("site,subject,split\nnorth\n", "line 2: '' is not a split"),
        ("\xff", "cannot be read as a table of splits|has no column site"),
    ],
)
def test_an_invalid_table_of_splits_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "splits.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(FederationError, match=message):
        splits.read_splits(tmp_path / "splits.csv")


def test_splits_can_be_given(root: Path, tmp_path: Path) -> None:
    own = {
        site: {f"p{i}": split for i, split in enumerate(["test", "val", "train", "train"])}
        for site in ("north", "south_é")
    }
    splits.write_splits(tmp_path / "mine.csv", own)
    store = trees.layout("folder", root, splits=str(tmp_path / "mine.csv")).prepare()
    assert {name: subject.split for name, subject in trees.people(store, "north").items()} == own["north"]
    again = trees.layout("folder", root, splits=str(store.folder / "splits.csv"), out=str(tmp_path / "again")).prepare()
    assert {name: subject.split for name, subject in trees.people(again, "north").items()} == own["north"]
    assert again.splits != store.splits  # another salt, other pseudonyms
    del own["north"]["p3"]
    splits.write_splits(tmp_path / "mine.csv", own)
    with pytest.raises(
        FederationError, match=r"does not name 1 of the subjects of site north, such as p3; give each a line"
    ):
        trees.layout("folder", root, splits=str(tmp_path / "mine.csv"), out=str(tmp_path / "b")).prepare()


def test_edited_splits_count_and_make_another_data_set(root: Path, tmp_path: Path) -> None:
    layout = trees.layout("folder", root)
    store = layout.prepare()
    dataset = Prepared([str(store.folder)])
    assert dataset.fingerprint("north") == layout.fingerprint("north")
    table = store.folder / "splits.csv"
    found = splits.read_splits(table)
    swapped = {name: {"test": "val", "val": "test"}.get(split, split) for name, split in found["north"].items()}
    splits.write_splits(table, {**found, "north": swapped})
    assert {s.name: s.split for s in dataset.load("north", tmp_path).subjects} == swapped
    assert dataset.fingerprint("north") != layout.fingerprint("north")
    with pytest.raises(
        FederationError, match=r"splits.csv was edited, so site north no longer follows from the options"
    ):
        layout.load("north", tmp_path)
    table.write_text("\n".join(table.read_text("utf-8").splitlines()[:-1]), "utf-8")
    with pytest.raises(FederationError, match=r"splits.csv does not name 1 of the subjects of site south_é"):
        dataset.load("south_é", tmp_path)
    splits.write_splits(table, {**found, "north": {**found["north"], "who": "test"}})
    with pytest.raises(FederationError, match=r"splits.csv: site north has no subject who; delete its line"):
        dataset.load("north", tmp_path)
