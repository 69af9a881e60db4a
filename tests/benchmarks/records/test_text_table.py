"""Cells side by side: numbers end on the right, words begin on the left."""

from __future__ import annotations

from fedsynth.benchmarks.records.text_table import text_table


def test_numbers_are_recognised_below_their_heading() -> None:
    rows = [["site", "PSNR", "1st"], ["a", "9.5", ""], ["longer", "-10.25", "b"]]
    assert text_table(rows) == ["site      PSNR  1st", "a          9.5", "longer  -10.25  b"]


def test_no_row_is_no_line() -> None:
    assert text_table([]) == text_table([], right=(1,)) == []


def test_alignment_that_is_given_counts() -> None:
    assert text_table([["a", "1"], ["bc", "-"]], right=(0,)) == [" a  1", "bc  -"]
