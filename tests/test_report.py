"""`fedsynth report`: a page that holds all it shows, says what the tables say, and is the same every time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import finished
import numpy as np
import pytest

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.leaderboard import columns
from fedsynth.benchmarks.report import page
from fedsynth.benchmarks.store import Store
from fedsynth.benchmarks.table import Finished, tables

ROOT = Path(__file__).parents[1]
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """What a page consists of: the cells of its tables, all its text, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text, self._open = "", list[str]()
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data.strip()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods with two seeds, one of which diverged, and one method of another scenario; images as far as there are."""
    store, images = Store(tmp_path), np.random.default_rng(0).integers(0, 256, (2, 16, 16), dtype=np.uint8)
    for method in ("fedavg", "local"):
        for seed in range(2):
            diverged = method == "local" and seed == 1
            facts = {"status": "diverged", "reason": "the loss is not finite", "selected_round": 0} if diverged else {}
            what = finished.identity(method={"name": method}, seed=seed)
            name = finished.finish(store, what, 20.0 + seed, **facts)
            if not diverged:
                kinds = ("source", "target", "prediction")
                shown = {f"ixi/T1->T2/{kind}": np.roll(images, shift, 2) for shift, kind in enumerate(kinds)}
                np.savez_compressed(store.folder(name) / "gallery.npz", **shown)  # type: ignore[arg-type]
    what = finished.identity(scenario={"name": "common", "sites": ["ixi"], "tasks": {"ixi": ["T1->T2"]}})
    environment = {"commit": "c" * 40, "dirty": True, "device": "cpu (any)", "versions": {"numpy": "1.26.0"}}
    finished.finish(store, what, environment=environment)
    return store


def runs(store: Store) -> list[Finished]:
    return [Finished.read(store, record) for record in store.records()[0]]


def test_the_page_holds_all_that_it_shows(store: Store) -> None:
    shown = Page(page(runs(store)))
    assert not {"script", "link", "iframe", "object"} & set(shown.tags)
    links = {address for address in shown.addresses if not address.startswith("data:image/png;base64,")}
    assert links == {"#table1", "#table2"}
    assert shown.tags.count("img") == 2 + 1  # curves of both tables, and the montage of the one place with images
    assert not re.search(r"url\(|@import|//", re.sub(r'src="[^"]*"', "", page(runs(store))))


@pytest.mark.parametrize(("diverged", "images"), [(1, 2), (0, 1)])
def test_images_are_those_of_the_first_seed(tmp_path: Path, diverged: int, images: int) -> None:
    store, image = Store(tmp_path), np.zeros((1, 16, 16), np.uint8)
    for seed in range(2):
        what = finished.identity(seed=seed)
        if seed == diverged:
            finished.finish(store, what, status="diverged", selected_round=0)
        else:
            shown = {f"ixi/T1->T2/{kind}": image for kind in ("source", "target", "prediction")}
            np.savez_compressed(store.folder(finished.finish(store, what)) / "gallery.npz", **shown)  # type: ignore[arg-type]
    assert Page(page(runs(store))).tags.count("img") == images


def test_its_tables_are_those_of_the_leaderboard(store: Store) -> None:
    shown = Page(page(runs(store)))
    for number, table in enumerate(tables(runs(store))):
        board, psnr, ssim, untrained = shown.tables[4 * number : 4 * number + 4]
        found = columns(table)
        cells = {column.name: column.cells() for column in found}
        scores = [column.name for column in found if "->" not in column.name]
        assert board == [scores, *(list(row) for row in zip(*(cells[name] for name in scores), strict=True))]
        for metric, places in (("PSNR", psnr), ("SSIM", ssim)):
            names = ["method", "network", *(name for name in cells if re.search(f"->.* {metric}$", name))]
            assert places[2:] == [list(row) for row in zip(*(cells[name] for name in names), strict=True)]
        assert all(row[2:] == ["11.00", "15.50", "18.25", "16.75", "1.50"] for row in untrained[1:])
        assert len(untrained) == 1 + len(places[1]) - 2
        assert table.title in shown.text
        for line in (*table.notes, *table.caption):
            assert line.replace("->", "→") in shown.text.replace("->", "→")


def test_the_runs_and_what_they_were_made_with_are_named(store: Store) -> None:
    shown = Page(page(runs(store)))
    rows = {row[0]: row for row in shown.tables[-1][1:]}
    assert list(rows) == [run.record.run for run in runs(store)]
    outcomes = sorted(row[1] for row in rows.values())
    assert outcomes == ["diverged: the loss is not finite", "done", "done", "done", "done"]
    (common,) = [row for name, row in rows.items() if "common" in name]
    assert common[3] == "cccccccccc with changes"
    assert "numpy 1.26.0" in shown.text


def test_options_that_look_like_html_are_text(tmp_path: Path) -> None:
    store, note = Store(tmp_path), "<script>alert(1)</script>&amp;"
    what = finished.identity(method={"name": "fedavg", "note": note})
    finished.finish(store, what, changed={"method": {"note": note}, "network": {}})
    shown = Page(page(runs(store)))
    assert "script" not in shown.tags
    assert f"note={note}" in shown.text


def test_a_page_made_again_is_the_same(store: Store) -> None:
    results = store.runs.parent
    assert main(["report", "--results", str(results)]) == 0
    command = [
        sys.executable,
        "-m",
        "fedsynth.benchmarks.cli",
        "report",
        "--results",
        str(results),
        "--out",
        "again.html",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "MPLBACKEND": "svg"}
    subprocess.run(command, check=True, env=environment, cwd=results, capture_output=True)
    assert (results / "report" / "index.html").read_bytes() == (results / "again.html").read_bytes()


def test_patterns_choose_runs(store: Store) -> None:
    assert main(["report", "*-common-*", "--results", str(store.runs.parent)]) == 0
    shown = Page((store.runs.parent / "report" / "index.html").read_text())
    assert "1 finished run in 1 table." in " ".join(shown.text.split())
    assert shown.tags.count("nav") == 0


def test_without_runs_it_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--results", str(tmp_path)]) == 1
    assert "no finished run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_neither_torch_nor_a_method_is_imported(store: Store) -> None:
    code = (
        "import sys\nfrom fedsynth.benchmarks.cli import main\n"
        f"assert main(['report', '--results', {str(store.runs.parent)!r}]) == 0\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'torch' or name.startswith('fedsynth.methods')])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
