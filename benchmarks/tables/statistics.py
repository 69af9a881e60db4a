"""The statistics of each row in its table: how sure its score is, what it gains over training alone, which rows equal it.

- The interval of a score is that of the two-way model (`stats/compare.py`): for other seeds, and other subjects at these sites.
- The gain is over `local` on the same network. Its p values are corrected for all gains of the table (Holm).
- Letters come from all pairs of the table, corrected likewise: rows that share a letter do not differ.
- The gap closed is the gain over `local` as a share of what `pooled` gains. It is given only where `pooled` is clearly above
  `local` on the same network (its own comparison has p < 0.05): elsewhere the sign of the share would be chance.

Below FEW_SEEDS there are intervals, and no significance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..stats.compare import FEW_SEEDS, Comparison, compare, require_estimable, two_way
from ..stats.multiple import LEVEL, Decision, decide, pairwise, significance_letters
from ..stats.reliability import Reliability, reliability
from ..stats.scores import Scores, StatsError


@dataclass(frozen=True)
class RowStatistics:
    """The statistics of one row, in the metric's unit, higher is better; None where the scores do not allow one."""

    margin: float | None  # half of the 95 % interval of the score
    reliability: Reliability
    lead: float | None  # over `local` on the same network
    gain: Decision | None  # the lead with its interval and p value
    closed: float | None  # share of the gap from `local` to `pooled`
    letters: str  # empty where no significance is drawn


@dataclass(frozen=True)
class Contender:
    """A row as statistics see it: its scores, and the positions in the table of the rows that it is compared with."""

    scores: Scores | None  # None for a row with a missing seed
    local: int | None  # `local` on the same network, None where there is none, or where it is the row itself
    pooled: int | None


def row_statistics(rows: Sequence[Contender]) -> tuple[list[RowStatistics | None], list[str]]:
    """The statistics of every row, best first, and the reasons why some are missing."""
    whole = [scores for row in rows if (scores := row.scores)]
    if not whole:
        return [None] * len(rows), []
    try:
        require_estimable(whole[0])
    except StatsError as error:
        several = len(whole[0].seeds) > 1  # for a single seed the note on few seeds is enough
        reasons = [f"No intervals: {error}."] if several else []
        return [_without_intervals(rows, row) if row.scores else None for row in rows], reasons
    gains = decide(
        {
            number: compare(_minus(rows, row, row.local))
            for number, row in enumerate(rows)
            if row.scores and row.local is not None
        }
    )
    groups, reasons = _letters_or_reason(whole)
    gaps = {pair: _clear_gap(rows, *pair) for pair in {(row.pooled, row.local) for row in rows}}
    found: list[RowStatistics | None] = []
    for number, row in enumerate(rows):
        if row.scores is None:
            found.append(None)
            continue
        margin = float(two_way(row.scores.values, row.scores.design).margin)
        gain, closed = gains.get(number), None
        if gain is not None and (gap := gaps[row.pooled, row.local]):
            closed = gain.comparison.difference / gap.difference
        found.append(RowStatistics(margin, reliability(row.scores), _lead(rows, row), gain, closed, groups.pop(0)))
    return found, reasons


def _without_intervals(rows: Sequence[Contender], row: Contender) -> RowStatistics:
    assert row.scores is not None
    return RowStatistics(None, reliability(row.scores), _lead(rows, row), None, None, "")


def _lead(rows: Sequence[Contender], row: Contender) -> float | None:
    """The row's score minus that of `local`."""
    if row.local is None:
        return None
    differences = _minus(rows, row, row.local)
    return float((differences.values @ differences.design.weights).mean())


def _minus(rows: Sequence[Contender], row: Contender, other: int) -> Scores:
    """The row minus another row of the table."""
    subtracted = rows[other].scores
    assert row.scores is not None
    assert subtracted is not None
    return row.scores.minus(subtracted)


def _clear_gap(rows: Sequence[Contender], pooled: int | None, local: int | None) -> Comparison | None:
    """The gain of `pooled` over `local`, where it is clearly above 0."""
    if pooled is None or local is None:
        return None
    gap = compare(_minus(rows, rows[pooled], local))
    return gap if gap.p is not None and gap.p < LEVEL and gap.difference > 0 else None


def _letters_or_reason(whole: Sequence[Scores]) -> tuple[list[str], list[str]]:
    """The letters of every row, or the reason why there are none."""
    none = [""] * len(whole)
    if len(whole) < 2 or len(whole[0].seeds) < FEW_SEEDS:
        return none, []
    try:
        adjusted = pairwise(whole)
    except StatsError as error:
        return none, [f"No significance groups: {error}."]
    try:
        return significance_letters(adjusted), []
    except StatsError as error:  # with very many rows; those that equal the first row can still be named
        like_first = ["a" if p >= LEVEL else "" for p in adjusted[0]]
        reason = f"Of the significance groups only that of the rows which do not differ from the first row is shown: {error}."
        return like_first, [reason]
