"""The data card: its numbers worked out by hand, how far sites differ, and its place in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from support import finished
from support.federations import federation, site
from support.pages import made

from fedsynth.benchmarks.records.data_card import (
    alike,
    card_facts,
    card_markdown,
    card_rows,
    shift,
    spread,
    thin,
    voxel_edges,
)
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.plots.images.intensities import draw_intensities
from fedsynth.federation import Site, Subject


def plain(images: np.ndarray, masks: np.ndarray) -> Site:
    people = tuple(Subject(split, split, slice(i, i + 1)) for i, split in enumerate(("train", "val", "test")))
    return Site("north", ("T1", "T2"), images.astype(np.float16), masks, people)


def test_its_numbers_are_those_of_the_site() -> None:
    images = np.full((3, 2, 8, 8), -1.0)
    masks = np.zeros((3, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    images[:, 0, 2:6, 2:6] = 0.0  # intensity 0.5: the 21st of 40 bins
    images[:, 1, 2:4, 2:6] = 1.0  # the last bin, half of the foreground
    edges = {"ann": ("1 1 1.2", "0.02"), "bob": ("1 1 1.6", "0.1"), "eve": ("1 1 1.2", "0.3")}
    lines = [{"subject": name, "contrast": "T1", "voxel_mm": mm, "dark": dark} for name, (mm, dark) in edges.items()]
    found = card_facts({"north": plain(images, masks)}, {"north": lines})
    assert json.loads(json.dumps(found)) == found
    own = found["north"]
    assert own["subjects"] == own["slices"] == {"train": 1, "val": 1, "test": 1}
    assert own["foreground"] == 0.25
    assert own["histogram"]["T1"] == [0.0] * 20 + [1.0] + [0.0] * 19
    assert own["histogram"]["T2"] == [0.5] + [0.0] * 38 + [0.5]
    assert card_rows(found) == [
        {
            "site": "north", "contrasts": "T1, T2", "train": "1 (1)", "val": "1 (1)", "test": "1 (1)", "pixels": "8 x 8",
            "foreground": "25%", "with scalp": "2 of 3", "source voxels, mm": "T1 1 x 1 x 1.2 (1.2 to 1.6)",
        }
    ]  # fmt: skip
    assert spread([[0.5, 0.5, 3]]) == "0.5 x 0.5 x 3"
    assert voxel_edges([{"contrast": "T1", "voxel_mm": "1.0 1.0 1.2"}, {"contrast": "T1", "voxel_mm": ""}]) == {
        "T1": [[1.0, 1.0, 1.2]]
    }


def test_a_person_under_two_names_is_found_and_others_are_not() -> None:
    """Four heads of which one lies at both sites, at the second with noise, shading and another window."""
    stream = np.random.default_rng(0)
    y, x = np.indices((96, 96)) / 48 - 1
    inside = x * x + y * y < 0.8
    people = gaussian_filter(stream.normal(size=(5, 5, 96, 96)), (0, 0, 2, 2))
    people = (people / people.std() * 0.15 + 0.5) * inside

    def site(name: str, own: np.ndarray) -> Site:
        images = np.concatenate(own)[:, None] * 2 - 1
        subjects = tuple(Subject(f"p{k}", "train", slice(5 * k, 5 * k + 5)) for k in range(len(own)))
        return Site(name, ("T1",), images.astype(np.float16), np.repeat(inside[None], 5 * len(own), 0), subjects)

    again = 0.8 * people[1] * (1 + 0.3 * x) + stream.normal(0, 0.02, people[1].shape)
    pairs = alike({"north": site("north", people[:3]), "south": site("south", np.stack([people[3], again, people[4]]))})
    assert [(pair.contrast, pair.one, pair.other) for pair in pairs] == [("T1", ("north", "p1"), ("south", "p1"))]
    assert 0.85 < pairs[0].agreement < 1


def test_a_site_like_the_others_has_no_gap_and_another_has_one() -> None:
    """T2 follows from T1 by a map that two sites share and a third does not: the third loses most by the table of all."""
    stream = np.random.default_rng(0)
    sites = {}
    for name, power in (("a", 1.0), ("b", 1.0), ("c", 0.3)):
        tissue = stream.uniform(size=(3, 64, 64))
        noisy = (tissue**power + stream.normal(0, 0.03, tissue.shape)).clip(0, 1)
        sites[name] = plain(np.stack([tissue, noisy], axis=1) * 2 - 1, np.ones((3, 64, 64), bool))
    gaps = {row["site"]: row["gap"] for row in shift({n: sites[n] for n in "ab"}) if row["task"] == "T1->T2"}
    assert all(abs(gap) < 0.1 for gap in gaps.values())
    gaps = {row["site"]: row["gap"] for row in shift(sites) if row["task"] == "T1->T2"}
    assert gaps["c"] > gaps["a"] > 3
    assert shift({"a": Site("a", ("T1",), sites["a"].images[:, :1], sites["a"].masks, sites["a"].subjects)}) == []


def test_thinning_keeps_some_of_every_split() -> None:
    whole = site("north", train=30, val=2, test=1, slices=9, size=(150, 150))
    few = thin(whole)
    assert [len(few.of(split)) for split in ("train", "val", "test")] == [20, 2, 1]
    assert few.images.shape[1:] == (4, 75, 75)
    np.testing.assert_array_equal(few.images[few.subjects[0].slices], whole.images[[0, 2, 5, 8]][..., ::2, ::2])


def test_it_is_written_as_markdown_and_drawn() -> None:
    sites = dict(federation().sites)
    text = card_markdown("Data card: test", card_facts(sites), shift(sites), ["3 subjects were left out."])
    assert text.startswith("# Data card: test\n\n3 subjects were left out.\n")
    assert text.count("| brats |") == 1 + 12  # of the sites, and of every pair of its four contrasts
    assert "![intensities](card.png)" in text
    panels = draw_intensities(card_facts(sites)).axes
    assert [axes.get_title() for axes in panels] == ["T1", "T2", "PD", "FLAIR"]
    assert [len(axes.lines) for axes in panels] == [4] * 4


def test_the_report_has_it_where_the_record_has(tmp_path: Path) -> None:
    store, what = Store(tmp_path), finished.identity()
    data = finished.record(what).data | {"card": card_facts(dict(federation().sites))}
    finished.finish(store, what, data=data)
    finished.finish(
        store, finished.identity(scenario={"name": "common", "sites": ["ixi"], "tasks": {"ixi": ["T1->T2"]}})
    )
    blocks = made(store).blocks
    (card,) = [block["card"] for name, block in blocks.items() if name.startswith("table-") and block["card"]]
    assert [line["site"] for line in card["lines"]] == ["brats", "ixi", "midas", "oasis"]
    assert [card["lines"][0][split] for split in ("train", "val", "test")] == ["3 (6)", "1 (2)", "2 (4)"]
    assert list(card["histograms"]) == ["brats", "ixi", "midas", "oasis"]
    assert all(
        sum(shares) == pytest.approx(1, abs=1e-3) for own in card["histograms"].values() for shares in own.values()
    )
