"""Where a row stands in its table: how sure its score is, what it gains over training alone, from whom it cannot be told.

- The interval of a score is that of the two-way model (`stats/compare.py`): for other seeds, and other subjects at these sites.
- The gain is over `local` on the same network, its p values Holm's over all gains of the table.
- Letters come from all pairs of the table, Holm's again: rows that share one do not differ.
- The gap closed is the gain over `local` as a share of what `pooled` gains, told only where `pooled` is clearly above `local`
  on the same network (its own comparison has p < 0.05): elsewhere the sign of the share would be chance.

Below FEW_SEEDS intervals are given, and no significance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..stats.compare import FEW_SEEDS, Comparison, check, compare, two_way
from ..stats.multiple import LEVEL, Decision, decide, groups, pairwise
from ..stats.reliability import Reliability, reliability
from ..stats.scores import Scores, StatsError


@dataclass(frozen=True)
class RowStatistics:
    """Of one row, in the metric's unit, higher is better; None where it cannot be told."""

    margin: float | None  # half of the 95 % interval of the score
    reliability: Reliability
    lead: float | None  # over `local` on the same network
    gain: Decision | None  # what may be said of the lead
    closed: float | None  # share of the gap from `local` to `pooled`
    letters: str  # none where no significance is drawn


@dataclass(frozen=True)
class Contender:
    """A row as statistics see it: its scores, and the place in the table of the rows that it is held to."""

    scores: Scores | None  # None for a row with a hole
    local: int | None  # `local` on the same network, None where there is none, or it is the row itself
    pooled: int | None


def row_statistics(rows: Sequence[Contender]) -> tuple[list[RowStatistics | None], list[str]]:
    """Where every row stands, best first, and why something cannot be told."""
    whole = [scores for row in rows if (scores := row.scores)]
    if not whole:
        return [None] * len(rows), []
    try:
        check(whole[0])
    except StatsError as error:
        several = len(whole[0].seeds) > 1  # of a single seed the note on few seeds says all
        return [plain(rows, row) if row.scores else None for row in rows], [
            f"No intervals: {error}."
        ] if several else []
    gains = decide(
        {
            place: compare(minus(rows, row, row.local))
            for place, row in enumerate(rows)
            if row.scores and row.local is not None
        }
    )
    letters, reasons = lettered(whole)
    most = {pair: clear(rows, *pair) for pair in {(row.pooled, row.local) for row in rows}}
    found: list[RowStatistics | None] = []
    for place, row in enumerate(rows):
        if row.scores is None:
            found.append(None)
            continue
        margin = float(two_way(row.scores.values, row.scores.design).margin)
        gain, closed = gains.get(place), None
        if gain is not None and (whole_gap := most[row.pooled, row.local]):
            closed = gain.comparison.difference / whole_gap.difference
        found.append(RowStatistics(margin, reliability(row.scores), lead(rows, row), gain, closed, letters.pop(0)))
    return found, reasons


def plain(rows: Sequence[Contender], row: Contender) -> RowStatistics:
    """A row of which no interval can be told."""
    assert row.scores is not None
    return RowStatistics(None, reliability(row.scores), lead(rows, row), None, None, "")


def lead(rows: Sequence[Contender], row: Contender) -> float | None:
    """The difference of the row's and of `local`'s score."""
    if row.local is None:
        return None
    differences = minus(rows, row, row.local)
    return float((differences.values @ differences.design.weights).mean())


def minus(rows: Sequence[Contender], row: Contender, other: int) -> Scores:
    """The row minus another row of the table."""
    held = rows[other].scores
    assert row.scores is not None
    assert held is not None
    return row.scores.minus(held)


def clear(rows: Sequence[Contender], pooled: int | None, local: int | None) -> Comparison | None:
    """What `pooled` gains over `local`, where that is clearly above 0."""
    if pooled is None or local is None:
        return None
    most = compare(minus(rows, rows[pooled], local))
    return most if most.p is not None and most.p < LEVEL and most.difference > 0 else None


def lettered(whole: Sequence[Scores]) -> tuple[list[str], list[str]]:
    """The letters of every row, or why there are none."""
    none = [""] * len(whole)
    if len(whole) < 2 or len(whole[0].seeds) < FEW_SEEDS:
        return none, []
    try:
        adjusted = pairwise(whole)
    except StatsError as error:
        return none, [f"No significance groups: {error}."]
    try:
        return groups(adjusted), []
    except StatsError as error:  # of very many rows; who is alike with the first can still be said
        alike = ["a" if p >= LEVEL else "" for p in adjusted[0]]
        return alike, [
            f"Of the significance groups only the first is shown, rows that do not differ from the first: {error}."
        ]
