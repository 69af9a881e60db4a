"""Cells side by side in lines of text, as every verb prints them, or as Markdown; and counts with their nouns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

NUMBER_STARTS = "+-0123456789"


def text_table(rows: Sequence[Sequence[str]], right: Collection[int] | None = None) -> list[str]:
    """One line a row. Numbers end on the right of their column, words begin on its left, and no line ends with blanks.

    `right` has the numbers of the columns that end on the right. Without it they are those whose cells start like a number, apart
    from the first cell, the heading, and from empty cells.
    """
    columns = list(zip(*rows, strict=True))
    if right is None:
        starts = [{cell[0] for cell in column[1:] if cell} for column in columns]
        right = [number for number, own in enumerate(starts) if own & set(NUMBER_STARTS)]
    aligned = []
    for number, column in enumerate(columns):
        width = max(map(len, column))
        aligned.append([cell.rjust(width) if number in right else cell.ljust(width) for cell in column])
    return ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]


def markdown_table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """The lines of a table in Markdown, whose first row is its heading. `right` has the numbers of the columns that end on the
    right."""
    heading, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return [
        heading,
        "| " + " | ".join("--:" if number in right else ":--" for number in range(len(rows[0]))) + " |",
        *others,
    ]


def how_many(count: int, noun: str) -> str:
    """The count with its noun: 1 run, 2 runs."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
