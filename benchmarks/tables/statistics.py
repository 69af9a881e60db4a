"""The statistics of each row in its table: how sure its score is, what it gains, which rows are shown to differ.

- The interval of a score is that of the two-way model (`stats/compare.py`): for other seeds, and other subjects at these sites.
- The table's methods make two families, declared before looking, each with a family-wise error of 5 % (`stats/multiple`):
  *gains*, each method against `local` and each against `fedavg` on the same network; and *all pairs* of methods.
- Everything else is exploratory: a row that leaves the families has differences with plain intervals, and no significance.
  An ablation leaves (another row of the same method and network has fewer options changed), a row with a diverged seed (its
  interval does not hold), and a row whose scores equal another's to the bit.
- The gap closed is the gain over `local` as a share of what `pooled` gains. It is given only where `pooled` is clearly above
  `local` on the same network (its own comparison has p < 0.05): elsewhere the sign of the share would be chance.

Below FEW_SEEDS there are intervals, and no significance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..stats.compare import FEW_SEEDS, Comparison, compare, margins, require_estimable
from ..stats.multiple.family import Family
from ..stats.multiple.letters import significance_letters
from ..stats.multiple.reference import LEVEL
from ..stats.reliability import Reliability, reliability
from ..stats.scores import Floats, Scores, StatsError

LETTERED = 6  # rows; of more, letters cannot be read


@dataclass(frozen=True)
class Decision:
    """A difference of two rows. `comparison` has its own interval; the others are None where it is exploratory: outside the
    families, or with few seeds."""

    comparison: Comparison
    low: float | None = None  # of the interval that holds together with all others of the family at 95 %
    high: float | None = None
    adjusted: float | None = None  # p value; the family-wise error of all below LEVEL is at most that
    significant: bool | None = None


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of the methods of a table: `rows` are their positions in it, and matrices [K, K] are row minus column."""

    rows: tuple[int, ...]
    difference: Floats
    low: Floats  # of the interval that holds together with all others at 95 %
    high: Floats
    adjusted: Floats  # p values, 1 on the diagonal

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Whether two methods are shown to differ."""
        return self.adjusted < LEVEL

    def decision(self, comparison: Comparison, one: int, other: int) -> Decision:
        """Of two rows, given by their positions in the table; exploratory where one of them has left."""
        if not {one, other} <= set(self.rows):
            return Decision(comparison)
        at = self.rows.index(one), self.rows.index(other)
        low, high, adjusted = (float(matrix[at]) for matrix in (self.low, self.high, self.adjusted))
        return Decision(comparison, low, high, adjusted, adjusted < LEVEL)


@dataclass(frozen=True)
class RowStatistics:
    """The statistics of one row, in the metric's unit, higher is better; None where the scores do not allow one."""

    margin: float | None  # half of the 95 % interval of the score
    reliability: Reliability
    lead: float | None  # over `local` on the same network
    gain: Decision | None  # the lead with its intervals and p value
    over_fedavg: Decision | None  # likewise over `fedavg` on the same network
    closed: float | None  # share of the gap from `local` to `pooled`
    letters: str = ""  # of at most LETTERED methods: those that share one are not shown to differ


@dataclass(frozen=True)
class Contender:
    """A row as statistics see it: its scores, and the positions in the table of the rows that it is compared with."""

    scores: Scores | None  # None for a row with a missing seed
    local: int | None = None  # `local` on the same network, None where there is none, or where it is the row itself
    fedavg: int | None = None
    pooled: int | None = None
    name: str = ""
    leaves: str = ""  # why no family has it: it is an ablation, or a seed diverged


@dataclass(frozen=True)
class TableStatistics:
    """The statistics of a table by one metric."""

    rows: tuple[RowStatistics | None, ...]
    pairs: Pairs | None = None  # None where no significance is drawn
    left: Mapping[int, str] = field(default_factory=dict)  # positions of the rows that leave the families, and why
    reasons: tuple[str, ...] = ()  # why some statistics are missing


def table_statistics(rows: Sequence[Contender]) -> TableStatistics:
    """The statistics of every row, best first."""
    whole = [scores for row in rows if (scores := row.scores)]
    if not whole:
        return TableStatistics((None,) * len(rows))
    try:
        require_estimable(whole[0])
    except StatsError as error:
        several = len(whole[0].seeds) > 1  # for a single seed the note on few seeds is enough
        why = (f"No intervals: {error}.",) if several else ()
        return TableStatistics(tuple(_without_intervals(rows, row) for row in rows), reasons=why)
    left = _leave(rows)
    members = [number for number, row in enumerate(rows) if row.scores and number not in left]
    family, reasons = _family(rows, members)
    gains = _gains(rows, members, family)
    pairs = _pairs(members, family) if family else None
    lettered = pairs is not None and len(members) <= LETTERED
    letters = dict(zip(members, significance_letters(pairs.adjusted), strict=True)) if pairs and lettered else {}
    gaps = {pair: _clear_gap(rows, *pair) for pair in {(row.pooled, row.local) for row in rows}}
    found: list[RowStatistics | None] = []
    for number, (row, margin) in enumerate(zip(rows, margins([row.scores for row in rows]), strict=True)):
        if row.scores is None:
            found.append(None)
            continue
        gain, over_fedavg = (None if other is None else gains[number, other] for other in (row.local, row.fedavg))
        gap = gaps[row.pooled, row.local]
        closed = gain.comparison.difference / gap.difference if gain and gap else None
        own = reliability(row.scores)
        found.append(RowStatistics(margin, own, _lead(rows, row), gain, over_fedavg, closed, letters.get(number, "")))
    return TableStatistics(tuple(found), pairs, left, reasons)


def _leave(rows: Sequence[Contender]) -> dict[int, str]:
    """The positions of the rows that leave the families, and why."""
    left = {number: row.leaves for number, row in enumerate(rows) if row.scores and row.leaves}
    controls = {control for row in rows for control in (row.local, row.fedavg, row.pooled)}
    known: dict[bytes, int] = {}
    for number in sorted(
        range(len(rows)), key=lambda number: number not in controls
    ):  # of equal rows the controls stay
        scores = rows[number].scores
        if scores and number not in left:
            same = known.setdefault(scores.values.tobytes(), number)
            if same != number:
                left[number] = f"equals {rows[same].name or f'row {same + 1}'} to the bit"
    return left


def _gains(rows: Sequence[Contender], members: Sequence[int], family: Family | None) -> dict[tuple[int, int], Decision]:
    """The gain of each row over its controls, (row, control) -> decision; the family's are decided together."""
    asked = [
        (number, other)
        for number, row in enumerate(rows)
        for other in (row.local, row.fedavg)
        if row.scores and other is not None
    ]
    found = {(one, other): Decision(compare(_minus(rows, rows[one], other))) for one, other in asked}
    tested = [pair for pair in found if set(pair) <= set(members)]
    if not family or not tested:
        return found
    place = {number: at for at, number in enumerate(members)}
    decided = family.decide([(place[one], place[other]) for one, other in tested])
    for pair, difference, margin, p in zip(tested, decided.difference, decided.margin, decided.p, strict=True):
        low, high = float(difference - margin), float(difference + margin)
        found[pair] = Decision(found[pair].comparison, low, high, float(p), bool(p < LEVEL))
    return found


def _pairs(members: Sequence[int], family: Family) -> Pairs:
    """All pairs of the family's methods."""
    above = np.triu_indices(len(members), 1)
    decided = family.decide(list(zip(*(own.tolist() for own in above), strict=True)))
    adjusted, margin = np.ones_like(family.difference), np.zeros_like(family.difference)
    for matrix, values in ((adjusted, decided.p), (margin, decided.margin)):
        matrix[above] = values
        matrix.T[above] = values
    return Pairs(tuple(members), family.difference, family.difference - margin, family.difference + margin, adjusted)


def _family(rows: Sequence[Contender], members: Sequence[int]) -> tuple[Family | None, tuple[str, ...]]:
    """The methods that are tested together; None where no significance is drawn, and why if the number of seeds does not say."""
    methods = [scores for number in members if (scores := rows[number].scores)]
    if len(methods) < 2 or len(methods[0].seeds) < FEW_SEEDS:
        return None, ()
    try:
        return Family.of(methods), ()
    except StatsError as error:
        return None, (f"No significance is drawn: {error}.",)


def _without_intervals(rows: Sequence[Contender], row: Contender) -> RowStatistics | None:
    return RowStatistics(None, reliability(row.scores), _lead(rows, row), None, None, None) if row.scores else None


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
