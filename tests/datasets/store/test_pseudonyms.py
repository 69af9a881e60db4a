"""Subjects have pseudonyms in a prepared folder; one file of it has their names, and nothing that leaves depends on them."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import trees

from fedsynth.datasets.layout import Layout
from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.store.pseudonyms import FILE, Names, pseudonym
from fedsynth.datasets.store.slice_store import SliceStore
from fedsynth.datasets.store.splits import draw_splits
from fedsynth.federation import FederationError
from fedsynth.federation.scenario import misaligned

PEOPLE = ("Quimby_1951-03-07", "Zappelhuber", "Ostrogorski", "Nurmagambetova")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.folder(tmp_path / "in", sites=("north",))
    for number, name in enumerate(PEOPLE):
        (tmp_path / "in" / "north" / f"p{number}").rename(tmp_path / "in" / "north" / name)
    return tmp_path / "in"


def layout(root: Path, out: str) -> Layout:
    return trees.layout("folder", root, out=str(root.parent / out))


def told(folder: Path) -> Iterator[str]:
    """All that a folder says, the names of its files too."""
    for name, content in trees.content(folder).items():
        yield f"{name}: {content.decode('latin-1')}"


def test_one_file_has_the_names_and_only_its_owner_reads_it(root: Path) -> None:
    store = layout(root, "out").prepare()
    assert sorted(trees.people(store, "north")) == sorted(PEOPLE)
    assert stat.S_IMODE((store.folder / FILE).stat().st_mode) == 0o600
    assert all(name in (store.folder / FILE).read_text() for name in (*PEOPLE, str(root)))
    (store.folder / FILE).rename(root / FILE)
    for text in told(store.folder):
        assert not any(secret in text for secret in (*PEOPLE, str(root), root.name + "/"))


def test_without_the_names_a_folder_can_be_trained_on_and_no_more(root: Path, tmp_path: Path) -> None:
    store = layout(root, "out").prepare()
    names = (store.folder / FILE).read_bytes()
    (store.folder / FILE).unlink()
    without = Prepared([str(store.folder)])
    assert [s.name for s in without.load("north", tmp_path).subjects] == [s.name for s in store.site("north").subjects]
    assert {(row["name"] == row["subject"], row["file"]) for row in without.volumes("north")} == {(True, "")}
    assert layout(root, "out").prepare().fingerprint("north") == store.fingerprint("north")
    trees.nifti(root / "north" / PEOPLE[0] / "T1.nii.gz", trees.stacks("midas", 9)["T1"])
    with pytest.raises(
        FederationError, match=r"lacks names.json, without which its subjects would get other pseudonyms"
    ):
        layout(root, "out").prepare()
    (store.folder / FILE).write_bytes(names[: len(names) // 2])
    with pytest.raises(FederationError, match=r"names.json cannot be read"):
        layout(root, "out").prepare()


def test_pseudonyms_stay_when_a_folder_is_prepared_again_or_copied(root: Path, tmp_path: Path) -> None:
    store = layout(root, "out").prepare()
    before = {name: subject.name for name, subject in trees.people(store, "north").items()}
    for contrast in ("T1", "T2"):
        trees.nifti(root / "north" / "late" / f"{contrast}.nii.gz", trees.stacks("midas", 9)[contrast])
    after = {name: subject.name for name, subject in trees.people(layout(root, "out").prepare(), "north").items()}
    assert after.items() > before.items()
    shutil.copytree(tmp_path / "out", tmp_path / "copied")
    assert trees.people(SliceStore.open(tmp_path / "copied"), "north").keys() == after.keys()
    other = {name: subject.name for name, subject in trees.people(layout(root, "other").prepare(), "north").items()}
    assert not {*other.values()} & {*after.values()}
    (tmp_path / "handed").mkdir()
    shutil.copy(tmp_path / "out" / FILE, tmp_path / "handed")
    handed = trees.people(layout(root, "handed").prepare(), "north")
    assert {name: subject.name for name, subject in handed.items()} == after


def test_the_salt_changes_neither_arrays_nor_splits_nor_fingerprints_nor_what_is_drawn(root: Path) -> None:
    one, two = (layout(root, out).prepare() for out in ("one", "two"))
    assert one.naming != two.naming
    assert one.fingerprint("north") == two.fingerprint("north") == layout(root, "one").fingerprint("north")
    assert one.test_fingerprint("north") == two.test_fingerprint("north")
    first, second = (store.site("north") for store in (one, two))
    np.testing.assert_array_equal(first.images, second.images)
    splits = {name: subject.split for name, subject in trees.people(one, "north").items()}
    assert splits == draw_splits(
        "north", PEOPLE, seed=0, val=0.1, test=0.2
    )  # by names, as before there were pseudonyms
    data = [Prepared([str(store.folder)]) for store in (one, two)]
    for cohort in range(3):
        drawn = [
            [store.names.name("north", s.name) for s in own.load_cohort("north", cohort, root).subjects]
            for store, own in zip((one, two), data, strict=True)
        ]
        assert drawn[0] == drawn[1]
    np.testing.assert_array_equal(misaligned(first, 3).images, misaligned(second, 3).images)
    for store in (one, two):  # the same edit of both
        table, who = store.folder / "splits.csv", trees.people(store, "north")
        (tester,), (judge,) = ([s.name for s in who.values() if s.split == split] for split in ("test", "val"))
        swapped = {tester: judge, judge: tester}
        text = "".join(swapped.get(part, part) for part in table.read_text().replace(",", "\0,\0").split("\0"))
        table.write_text(text)
    again = [SliceStore.open(store.folder) for store in (one, two)]
    assert again[0].fingerprint("north") == again[1].fingerprint("north") != one.fingerprint("north")
    assert again[0].test_fingerprint("north") == again[1].test_fingerprint("north") != one.test_fingerprint("north")


def test_a_name_is_part_of_no_fingerprint_and_of_no_order(root: Path, tmp_path: Path) -> None:
    """Whoever has a folder without its names could try names on a digest of them; the order of names would tell of them too."""
    given = tmp_path / "mine.csv"
    given.write_text("site,subject,split\n" + "".join(f"north,{name},train\n" for name in PEOPLE[:2]))
    with given.open("a") as file:
        file.write(f"north,{PEOPLE[2]},val\nnorth,{PEOPLE[3]},test\n")
    asked = trees.layout("folder", root, splits=str(given), out=str(tmp_path / "one"))
    before, one = asked.fingerprint("north"), asked.prepare().site("north")
    (root / "north" / PEOPLE[0]).rename(root / "north" / "aaa")
    given.write_text(given.read_text().replace(PEOPLE[0], "aaa"))
    renamed = trees.layout("folder", root, splits=str(given), out=str(tmp_path / "two"))
    assert renamed.fingerprint("north") == before
    np.testing.assert_array_equal(renamed.prepare().site("north").images, one.images)


def test_pseudonyms_follow_from_salt_site_and_name() -> None:
    assert pseudonym("00" * 16, "north", "ann") == pseudonym("00" * 16, "north", "ann")
    others = {
        pseudonym(salt * 16, *who)
        for salt in ("00", "01")
        for who in (("north", "ann"), ("south", "ann"), ("n", "orthann"))
    }
    assert len(others) == 6
    assert Names().name("north", "p0") == "p0"
