"""Plain data: what cannot be is refused in words, the code is what it says, and arrays are stored whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federations import federation, site

from fedsynth.federation import Dataset, Federation, FederationError, Site, Subject, Task, arrays
from fedsynth.federation.scenario import Scenario

# --- tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_written_as_it_is_read() -> None:
    task = Task.parse(" T1 -> FLAIR ")
    assert (task.source, task.target) == ("T1", "FLAIR")
    assert str(task) == "T1->FLAIR"


@pytest.mark.parametrize("text", ["T1", "T1->", "->T2", "T1->T1", "T1>T2", "", "->", "T1.5->T2"])
def test_what_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(FederationError, match=rf"task {re.escape(repr(text))} is not of the form SOURCE->TARGET"):
        Task.parse(text)


# --- sites -----------------------------------------------------------------------------------------------------------


def subjects(*rows: tuple[str, str, int, int]) -> tuple[Subject, ...]:
    return tuple(Subject(name, split, slice(start, stop)) for name, split, start, stop in rows)


WHOLE = (("a", "train", 0, 2), ("b", "val", 2, 3), ("c", "test", 3, 4), ("d", "train", 4, 6))


def made(rows: Sequence[tuple[str, str, int, int]] = WHOLE, **other: Any) -> Site:
    images = np.zeros((6, 2, 8, 8), np.float16)
    arrays = {"contrasts": ("T1", "T2"), "images": images, "masks": images[:, 0] > 0} | other
    return Site("ixi", subjects=subjects(*rows), **arrays)


def test_rows_of_a_split_are_in_order() -> None:
    assert made().rows("train").tolist() == [0, 1, 4, 5]
    assert [s.name for s in made().of("train")] == ["a", "d"]
    no_test = made((("a", "train", 0, 6),))
    assert no_test.rows("test").tolist() == []
    assert no_test.rows("test").dtype == np.int64


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ((("a", "train", 0, 3), ("a", "test", 3, 6)), "site ixi: a subject's name occurs twice, so splits could mix"),
        (
            (("a", "train", 0, 3), ("b", "test", 2, 6)),
            "site ixi: the subjects' slices do not cover its 6 rows once each",
        ),
        ((("a", "train", 0, 3), ("b", "test", 4, 6)), "do not cover its 6 rows"),
        ((("a", "training", 0, 6),), r"site ixi: unknown split \['training'\]; a subject is in one of \('train'"),
    ],
)
def test_a_site_whose_subjects_do_not_fit_is_refused(rows: Any, text: str) -> None:
    with pytest.raises(FederationError, match=text):
        made(rows)


@pytest.mark.parametrize("other", [{"contrasts": ("T1",)}, {"masks": np.zeros((6, 8, 4), bool)}])
def test_a_site_whose_arrays_do_not_fit_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(FederationError, match=r"site ixi: images \(6, 2, 8, 8\) and masks .* do not fit contrasts"):
        made(**other)


# --- storage ---------------------------------------------------------------------------------------------------------


def test_a_site_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    before = site("ixi")
    before.save(tmp_path / "deep" / "ixi")
    after = Site.open(tmp_path / "deep" / "ixi")
    assert isinstance(after.images, np.memmap)
    assert (after.name, after.contrasts, after.subjects) == (before.name, before.contrasts, before.subjects)
    assert (after.images.dtype, after.masks.dtype) == (np.float16, np.bool_)
    np.testing.assert_array_equal(after.images, before.images)
    np.testing.assert_array_equal(after.masks, before.masks)
    assert after.lesions is None
    replace(before, lesions=~before.masks).save(tmp_path / "with lesions")
    np.testing.assert_array_equal(Site.open(tmp_path / "with lesions").lesions, ~before.masks)
    assert after.noise_free is None
    clean = before.images[before.rows("test")] / 2
    replace(before, noise_free=clean).save(tmp_path / "without noise")
    np.testing.assert_array_equal(Site.open(tmp_path / "without noise").noise_free, clean)
    with pytest.raises(
        FederationError, match=r"site ixi: noise_free \(1, 4, 16, 16\) does not fit its test slices \(4, 4,"
    ):
        replace(before, noise_free=clean[:1])


def test_lesions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FederationError, match=r"site ixi: lesions \(1, 8, 8\) do not fit masks \(6, 8, 8\)"):
        made(lesions=np.zeros((1, 8, 8), bool))


def test_a_folder_that_is_complete_is_left_alone(tmp_path: Path) -> None:
    site("ixi").save(tmp_path / "here")
    site("oasis").save(tmp_path / "here")
    assert Site.open(tmp_path / "here").name == "ixi"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    save, calls = np.save, []

    def full_disk(file: Path, array: np.ndarray) -> None:
        calls.append(file)
        if len(calls) == count:
            file.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        save(file, array)

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        site("ixi").save(tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_save_left_behind_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)  # a killed process does not clean up
        patch.setattr("os.rename", killed)
        with pytest.raises(Killed):
            site("ixi").save(tmp_path / "here")
    assert not (tmp_path / "here").exists()
    site("ixi").save(tmp_path / "here")
    assert Site.open(tmp_path / "here").name == "ixi"


def test_savers_who_meet_leave_one_whole_site(tmp_path: Path) -> None:
    ixi = site("ixi")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ixi.save(tmp_path / "here"), range(32)))
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    np.testing.assert_array_equal(Site.open(tmp_path / "here").images, ixi.images)


FILES = ("images.npy", "masks.npy", "lesions.npy", "noise_free.npy", "index.json")


def flipped(path: Path) -> None:
    """Another bit in the last quarter of a file: of an array a pixel, of an index a subject."""
    content = bytearray(path.read_bytes())
    content[-len(content) // 4] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flipped, lambda path: os.truncate(path, 90), Path.unlink])
def test_a_damaged_site_is_refused_and_a_damaged_cache_made_again(
    name: str, damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One changed bit in a mask gave other scores under the same name."""
    whole = replace(site("ixi"), lesions=~site("ixi").masks, noise_free=site("ixi").images[site("ixi").rows("test")])
    whole.save(tmp_path / "ixi")
    seal = Site.open(tmp_path / "ixi").seal
    damage(tmp_path / "ixi" / name)
    with pytest.raises(FederationError, match=rf"ixi/{name} (is damaged|cannot be read)"):
        Site.open(tmp_path / "ixi")
    found = Site.cached(tmp_path / "ixi", lambda: whole)
    assert found.seal == seal
    for array in ("images", "masks", "lesions", "noise_free"):
        np.testing.assert_array_equal(getattr(found, array), getattr(whole, array))
    assert f"ixi/{name}" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["ixi"]


def test_a_process_reads_an_array_once_to_check_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site("ixi").save(tmp_path / "ixi")
    Site.open(tmp_path / "ixi")
    monkeypatch.setattr(arrays, "file_digest", lambda *_: pytest.fail("read again"))
    assert Site.open(tmp_path / "ixi").name == "ixi"


# --- scenarios -------------------------------------------------------------------------------------------------------


@dataclass
class Two(Dataset):
    """ixi owns all contrasts, midas T1 and T2."""

    def contrasts(self) -> Mapping[str, Sequence[str]]:
        return {"ixi": ("T1", "T2", "PD", "FLAIR"), "midas": ("T1", "T2")}

    def fingerprint(self, site: str) -> str:
        return site

    def load(self, site_name: str, cache: Path) -> Site:
        return site(site_name)


def test_a_scenario_resolves_by_name(tmp_path: Path) -> None:
    scenario = Scenario("s", ["midas", "ixi"], {"ixi": ["T1->T2", "T2->PD"], "default": ["T2->T1"]})
    assert scenario.resolve(Two()) == {
        "ixi": (Task("T1", "T2"), Task("T2", "PD")),
        "midas": (Task("T2", "T1"),),
    }
    loaded = scenario.federation(Two(), tmp_path)
    assert loaded.names == ("ixi", "midas")
    assert loaded.size == (16, 16)


def test_a_site_has_the_entry_of_its_name_or_of_the_first_pattern_that_fits_or_the_default() -> None:
    entries = {"default": ["T2->T1"], "*das": ["T1->T2"], "*": ["T1->T2", "T2->T1"], "ixi": ["T2->PD"]}
    assert Scenario("s", ["*"], entries).resolve(Two()) == {"ixi": (Task("T2", "PD"),), "midas": (Task("T1", "T2"),)}
    told = Scenario("s", ["*"], {"default": ["T1->T2"]}, shift={"m*": 2})
    assert [told.of_site(told.shift, name) for name in ("ixi", "midas")] == [None, 2]


@pytest.mark.parametrize(
    ("sites", "tasks", "text"),
    [
        (["ixi", "ixi"], {"default": ["T1->T2"]}, "scenario s: site 'ixi' is listed twice"),
        (["oasis"], {"default": ["T1->T2"]}, "scenario s: no site 'oasis'; the data set has ixi, midas"),
        (["ixi"], {"midas": ["T1->T2"]}, "scenario s: site 'ixi' has no task; give scenario.tasks.ixi"),
        (["ixi"], {"ixi": []}, "scenario s: site 'ixi' has no task"),
        (
            ["ixi"],
            {"ixi": ["T1->T2", "T1 -> T2"]},
            "scenario s: a task of site 'ixi' is listed twice: T1->T2, T1 -> T2",
        ),
        (
            ["midas"],
            {"midas": ["T1->FLAIR"]},
            "scenario s: task T1->FLAIR needs FLAIR, which site 'midas' lacks; it has T1, T2",
        ),
        ([], {}, "scenario s has no site; choose among ixi, midas"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(sites: list[str], tasks: dict[str, list[str]], text: str) -> None:
    with pytest.raises(FederationError, match=re.escape(text)):
        Scenario("s", sites, tasks).resolve(Two())


# --- federations -----------------------------------------------------------------------------------------------------


def test_contrasts_are_in_the_fields_order_then_by_name() -> None:
    images = np.zeros((4, 6, 8, 8), np.float16)
    rows = subjects(("a", "train", 0, 2), ("b", "val", 2, 3), ("c", "test", 3, 4))
    odd = Site("odd", ("SWI", "FLAIR", "PD", "T2", "T1", "ADC"), images, images[:, 0] > 0, rows)
    tasks = (Task("SWI", "FLAIR"), Task("T2", "ADC"), Task("FLAIR", "T1"))
    assert Federation({"odd": odd}, {"odd": tasks}).contrasts == ("T1", "T2", "FLAIR", "ADC", "SWI")


def test_the_code_is_site_source_and_target() -> None:
    plain = federation()
    assert plain.names == ("brats", "ixi", "midas", "oasis")
    assert plain.contrasts == ("T1", "T2", "PD", "FLAIR")
    #                                                             site        source      target
    assert plain.code("ixi", Task("T2", "PD")).tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert plain.code("oasis", Task("T1", "FLAIR")).tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1]
    assert plain.code("ixi", Task("T2", "PD")).dtype == np.float32
    joined = replace(plain, sites={**plain.sites, "new": site("new")}, newcomers={"new": (Task("T2", "PD"),)})
    assert joined.columns.length == 13
    assert joined.code("new", Task("T2", "PD")).tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0]


def test_every_site_and_task_has_a_code_of_its_own() -> None:
    plain = federation()
    codes = {tuple(plain.code(name, task)) for name in plain.names for task in plain.tasks[name]}
    assert len(codes) == 8


def test_order_of_listing_is_forgotten() -> None:
    one, other = federation(("ixi", "brats", "oasis")), federation(("oasis", "ixi", "brats"))
    assert one.names == other.names == ("brats", "ixi", "oasis")
    assert one.contrasts == other.contrasts
    assert one.all_tasks() == other.all_tasks() == tuple(sorted(one.all_tasks()))
    assert one.all_tasks(["ixi"]) == (Task("T1", "T2"), Task("T2", "PD"))
    task = Task("T1", "T2")
    assert np.array_equal(one.code("ixi", task), other.code("ixi", task))


def without_validation(of: Site) -> Site:
    return replace(of, subjects=tuple(replace(s, split="train" if s.split == "val" else s.split) for s in of.subjects))


def without_contrast(of: Site) -> Site:
    return replace(of, contrasts=of.contrasts[:2], images=of.images[:, :2])


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            without_validation,
            "site ixi: no subject in its val split; every site needs some in each of train, val, test",
        ),
        (
            lambda of: site("ixi", size=(16, 32)),
            r"sites have images of different sizes: \{'ixi': \(16, 32\), 'midas': \(16",
        ),
        (without_contrast, "site ixi: task T2->PD needs PD, but its images are T1, T2"),
    ],
)
def test_sites_that_cannot_train_together_are_refused(spoil: Callable[[Site], Site], text: str) -> None:
    good = federation(("ixi", "midas"))
    with pytest.raises(FederationError, match=text):
        Federation({"ixi": spoil(good.sites["ixi"]), "midas": good.sites["midas"]}, good.tasks)
