"""Cells side by side in lines of text, as every verb prints them."""

from __future__ import annotations

from collections.abc import Sequence

NUMBER_STARTS = "+-0123456789"


def text_table(rows: Sequence[Sequence[str]], right: Sequence[bool] | None = None) -> list[str]:
    """One line a row. Numbers end on the right of their column, words begin on its left, and no line ends with blanks.

    `right` says which columns end on the right. Without it, those do whose cells start like a number, apart from their first
    cell, the heading, and from empty cells.
    """
    columns = list(zip(*rows, strict=True))
    if right is None:
        right = [any(cell[:1] in NUMBER_STARTS for cell in column[1:] if cell) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    aligned = [
        [cell.rjust(width) if at_right else cell.ljust(width) for cell in column]
        for column, width, at_right in zip(columns, widths, right, strict=True)
    ]
    return ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
