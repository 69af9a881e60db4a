"""What the views of a table show: a column's cells and the best of its values; and the pairs of its methods."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pytest
from support import finished

from fedsynth.benchmarks.leaderboard.latex import to_latex
from fedsynth.benchmarks.leaderboard.leaderboard import table_views
from fedsynth.benchmarks.leaderboard.text import to_csv, to_markdown, to_terminal
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.tables.views.view import Column, TableView

# Columns


@pytest.mark.parametrize(
    ("better", "leaders"),
    [(1, [2, 1, 1, 0, 0]), (-1, [2, 0, 0, 0, 1]), (0, [0, 0, 0, 0, 0])],
)
def test_ties_share_a_place(better: Literal[-1, 0, 1], leaders: list[int]) -> None:
    column = Column("PSNR", (20.0, 21.001, 20.999, None, 19.0), 2, better=better)
    assert column.leaders == leaders


def test_where_all_are_alike_none_is_best() -> None:
    assert Column("PSNR", (20.001, 19.999, None), 2, better=1).leaders == [0, 0, 0]


def test_cells() -> None:
    assert Column("gain", (-0.001, 1234.5, None), 2).cells == ["0.00", "1,234.50", "-"]
    assert Column("rank", (1, None)).cells == ["1", "-"]
    assert Column("method", ("a", "bc")).lines == ["", "method", "a", "bc"]
    assert Column("PSNR", (1.0,), 2, heading=("ixi", "T1->T2")).lines == ["ixi", "T1->T2", "1.00"]


def test_a_probability_is_never_0() -> None:
    p = Column("p", (0.04996, 0.00005, 0.0000499, 0.0, None), 4, never_0=True)
    assert p.cells == ["0.0500", "0.0001", "<0.0001", "<0.0001", "-"]


# Pairs of methods: a matrix to read above six rows, each pair once in the CSV, letters up to six


LEVELS = {"a": 30.0, "b": 29.0, "c": 24.0, "d": 23.9, "e": 22.0, "f": 21.0, "g": 20.0}


def views(tmp_path: Path, count: int) -> list[TableView]:
    """`c` and `d` go up and down with seeds, one when the other goes down; the others are known well."""
    for place, (method, level) in enumerate(list(LEVELS.items())[:count]):
        for seed in range(5):
            sway = 0.5 * (-1) ** (seed + place) if method in "cd" else 0.01 * ((seed * (place + 2)) % 5 - 2)
            what = finished.identity(method={"name": method}, seed=seed)
            finished.finish(Store(tmp_path), what, level + sway)
    return table_views(finished_runs(Store(tmp_path)))


def test_letters_up_to_six_methods(tmp_path: Path) -> None:
    found = views(tmp_path, 6)
    assert "groups" in [column.name for column in found[0].columns]
    assert (
        "Rows that share a letter in groups are not shown to differ (5 % for all pairs together)." in found[0].caption
    )
    assert [view.title for view in found if view.shown and view.title.endswith("pairs of methods")] == []


def test_a_matrix_above_six_in_every_format(tmp_path: Path) -> None:
    found = views(tmp_path, 7)
    assert "groups" not in [column.name for column in found[0].columns]
    assert "letter" not in " ".join(found[0].caption)
    (matrix,) = [view for view in found if view.shown and view.title.endswith("pairs of methods")]
    signs = matrix.column("against").values
    assert signs[0] == "o++++ ++"
    assert signs[2] == "--o.+ ++"  # not shown to differ from the fourth
    assert signs[6] == "----- -o"
    assert ". not shown to differ" in matrix.caption[0]
    assert "3  c       --o.+ ++" in to_terminal(matrix)
    assert "| 3 | c | `--o.+ ++` |" in to_markdown([matrix])
    assert r"3 & c & \texttt{--o.+\ ++} \\" in to_latex([matrix])
    pairs = [row for row in csv.DictReader(io.StringIO(to_csv(found))) if row["table"].endswith("pairs of methods")]
    assert len(pairs) == 21
    assert (pairs[0]["method"], pairs[0]["minus method"]) == ("a", "b")
    assert float(pairs[0]["difference"]) == pytest.approx(1, abs=0.05)
    assert float(pairs[0]["difference low"]) > 0
    (open_pair,) = [row for row in pairs if (row["method"], row["minus method"]) == ("c", "d")]
    assert float(open_pair["difference low"]) < 0 < float(open_pair["difference high"])
    assert float(open_pair["difference p"]) > 0.05
