"""A column's cells, and which of its values are the best."""

from __future__ import annotations

from typing import Literal

import pytest

from fedsynth.benchmarks.tables.views.view import Column


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
